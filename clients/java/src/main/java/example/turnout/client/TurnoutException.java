package example.turnout.client;

import com.google.protobuf.Any;
import com.google.protobuf.InvalidProtocolBufferException;
import com.google.rpc.ErrorInfo;
import com.google.rpc.RetryInfo;
import example.turnout.serving.v1.PredictionError;
import io.grpc.Status;
import io.grpc.StatusRuntimeException;
import io.grpc.protobuf.StatusProto;
import java.time.Duration;
import java.util.Map;

/** Why a call was not answered. The code says what a caller can do, the reason exactly what happened. */
public final class TurnoutException extends RuntimeException {
  private static final long serialVersionUID = 1;

  private final Status.Code code;
  private final String reason;
  private final transient Map<String, String> facts;
  private final Duration retryAfter;

  TurnoutException(
      Status.Code code, String reason, String sentence, Map<String, String> facts, Duration retryAfter, Throwable why) {
    super(reason + ": " + sentence, why);
    this.code = code;
    this.reason = reason;
    this.facts = Map.copyOf(facts);
    this.retryAfter = retryAfter;
  }

  /** The gRPC status code, for example NOT_FOUND. */
  public Status.Code code() {
    return code;
  }

  /** What happened, machine-readable, for example MODEL_NOT_SERVED; UNREACHABLE where no gateway answered. */
  public String reason() {
    return reason;
  }

  /** The values that matter, by name. */
  public Map<String, String> facts() {
    return facts == null ? Map.of() : facts;
  }

  /** When to try again; null where the gateway does not say. */
  public Duration retryAfter() {
    return retryAfter;
  }

  /** Returns what a failed call of a stub stands for, with the reason from its google.rpc.ErrorInfo. */
  public static TurnoutException of(StatusRuntimeException error) {
    Status.Code code = error.getStatus().getCode();
    // A gateway always says why: what has no reason came from the network, or from here.
    String reason = code == Status.Code.UNAVAILABLE ? "UNREACHABLE" : code.name();
    Map<String, String> facts = Map.of();
    Duration retryAfter = null;
    try {
      com.google.rpc.Status said = StatusProto.fromThrowable(error);
      for (Any detail : said.getDetailsList()) {
        if (detail.is(ErrorInfo.class)) {
          ErrorInfo info = detail.unpack(ErrorInfo.class);
          reason = info.getReason();
          facts = info.getMetadataMap();
        } else if (detail.is(RetryInfo.class)) {
          com.google.protobuf.Duration delay = detail.unpack(RetryInfo.class).getRetryDelay();
          retryAfter = Duration.ofSeconds(delay.getSeconds(), delay.getNanos());
        }
      }
    } catch (InvalidProtocolBufferException unreadable) {
      error.addSuppressed(unreadable); // the status itself still says what happened
    }
    String sentence = error.getStatus().getDescription();
    return new TurnoutException(code, reason, sentence == null ? "" : sentence, facts, retryAfter, error);
  }

  /** Returns why one of several predictions was not answered, as the call of its own would have failed. */
  public static TurnoutException of(PredictionError error) {
    Status.Code code = Status.fromCodeValue(error.getCode()).getCode();
    return new TurnoutException(code, error.getReason(), error.getMessage(), error.getFactsMap(), null, null);
  }
}
