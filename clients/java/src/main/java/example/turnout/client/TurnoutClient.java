package example.turnout.client;

import example.turnout.outcomes.v1.OutcomeResult;
import example.turnout.outcomes.v1.OutcomeServiceGrpc;
import example.turnout.outcomes.v1.OutcomeServiceGrpc.OutcomeServiceBlockingStub;
import example.turnout.outcomes.v1.OutcomeStatus;
import example.turnout.outcomes.v1.RecordOutcomesRequest;
import example.turnout.serving.v1.PredictionServiceGrpc;
import example.turnout.serving.v1.PredictionServiceGrpc.PredictionServiceBlockingStub;
import io.grpc.ManagedChannel;
import io.grpc.Status;
import io.grpc.StatusRuntimeException;
import java.time.Duration;
import java.util.Map;
import java.util.concurrent.TimeUnit;

/**
 * Asks one gateway or several for predictions and records what happened later. It is made once, shared between threads, and
 * closed at the end.
 *
 * <p>It is a thin layer over the generated stubs. Who is assigned to what is decided by the gateway alone.
 */
public final class TurnoutClient implements AutoCloseable {
  /** The version of this package and of the contract that it speaks. */
  public static final String VERSION = "0.1.0";

  private final ManagedChannel channel;
  private final PredictionServiceBlockingStub predictions;
  private final OutcomeServiceBlockingStub outcomes;

  private TurnoutClient(ManagedChannel channel) {
    this.channel = channel;
    this.predictions = PredictionServiceGrpc.newBlockingStub(channel);
    this.outcomes = OutcomeServiceGrpc.newBlockingStub(channel);
  }

  /** Returns a client of the gateway that the environment names, see {@link #connect(String, Settings)}. */
  public static TurnoutClient connect() {
    return connect("", Settings.fromEnvironment());
  }

  /**
   * Returns a client of the gateway at an address: {@code host:port}; a name that gRPC resolves ({@code dns:///name:port}); or
   * several {@code IP:port} with commas between them, which take calls in turn. Empty: the one in TURNOUT_DATA_SERVER, else
   * 127.0.0.1:8001. Nothing is connected before the first call.
   *
   * @throws IllegalArgumentException a token would travel to another machine in clear
   */
  public static TurnoutClient connect(String address, Settings settings) {
    return new TurnoutClient(Channels.open(address, settings));
  }

  /** Returns one prediction, or throws a {@link TurnoutException}. */
  public Prediction predict(String model, Ask ask) {
    return predict(model, ask, null);
  }

  /** Returns one prediction within a deadline of its own, or throws a {@link TurnoutException}. */
  public Prediction predict(String model, Ask ask, Duration timeout) {
    try {
      var stub = timeout == null ? predictions : predictions.withDeadlineAfter(timeout.toNanos(), TimeUnit.NANOSECONDS);
      return Prediction.of(stub.predict(ask.of(model)));
    } catch (StatusRuntimeException error) {
      throw TurnoutException.of(error);
    }
  }

  /** Records one outcome. Once this returns, the outcome survives the death of every process. */
  public void recordOutcome(Outcome outcome) {
    OutcomeResult result;
    try {
      var request = RecordOutcomesRequest.newBuilder().addOutcomes(outcome.message()).build();
      result = outcomes.recordOutcomes(request).getResults(0);
    } catch (StatusRuntimeException error) {
      throw TurnoutException.of(error);
    }
    if (result.getStatus() != OutcomeStatus.OUTCOME_STATUS_RECORDED) {
      // A status that is newer than this package is taken as not recorded: recording again is harmless.
      boolean invalid = result.getStatus() == OutcomeStatus.OUTCOME_STATUS_INVALID;
      Status.Code code = invalid ? Status.Code.INVALID_ARGUMENT : Status.Code.UNAVAILABLE;
      throw new TurnoutException(code, result.getReason(), result.getMessage(), Map.of(), null, null);
    }
  }

  /** Returns the channel, for any of the generated stubs; batches and streams are theirs. */
  public ManagedChannel channel() {
    return channel;
  }

  /** Ends the connection. */
  @Override
  public void close() {
    channel.shutdownNow();
  }
}
