import example.turnout.client.Ask;
import example.turnout.client.Outcome;
import example.turnout.client.Prediction;
import example.turnout.client.Tensors;
import example.turnout.client.TurnoutClient;
import example.turnout.client.TurnoutException;
import example.turnout.outcomes.v1.OutcomeServiceGrpc;
import example.turnout.outcomes.v1.StreamOutcomesRequest;
import example.turnout.outcomes.v1.StreamOutcomesResponse;
import example.turnout.serving.v1.BatchPart;
import example.turnout.serving.v1.BatchPredictRequest;
import example.turnout.serving.v1.BatchPredictResponse;
import example.turnout.serving.v1.PredictionServiceGrpc;
import example.turnout.serving.v1.RowError;
import example.turnout.serving.v1.StreamPredictRequest;
import example.turnout.serving.v1.StreamPredictResponse;
import io.grpc.stub.StreamObserver;
import io.opentelemetry.api.trace.Span;
import io.opentelemetry.api.trace.SpanContext;
import io.opentelemetry.api.trace.TraceFlags;
import io.opentelemetry.api.trace.TraceState;
import io.opentelemetry.context.Context;
import io.opentelemetry.context.Scope;
import java.nio.file.Files;
import java.nio.file.Path;
import java.time.Duration;
import java.util.ArrayList;
import java.util.List;
import java.util.Map;
import java.util.Set;
import java.util.concurrent.CompletableFuture;
import java.util.concurrent.ConcurrentSkipListSet;
import java.util.concurrent.ExecutorService;
import java.util.concurrent.Executors;
import java.util.concurrent.TimeUnit;
import java.util.concurrent.atomic.AtomicInteger;
import java.util.function.Consumer;
import java.util.stream.Collectors;

/**
 * The tour: every kind of call against a gateway that the environment names, and what is answered. All clients print the same.
 * "load FILE" makes calls from four threads until there is that file, and says how many failed.
 */
class Tour {
  /** How long a call of the load may take: the first ones wait for connections, on a machine that does much else. */
  private static final Duration PATIENCE = Duration.ofSeconds(60);

  private static final Outcome LATE = Outcome.ofUnit("d3", "1", "late", 1);

  public static void main(String[] arguments) throws Exception {
    try (TurnoutClient client = TurnoutClient.connect()) { // the environment says where, and with which token
      if (arguments.length > 1) {
        load(client, Path.of(arguments[1]));
        return;
      }
      try (Scope traced = traced().makeCurrent()) {
        tour(client);
      }
    }
  }

  /** Returns a context in the span that the environment names, as OpenTelemetry's SDK would make one. */
  private static Context traced() {
    String trace = System.getenv("TOUR_TRACE");
    if (trace == null) {
      return Context.current();
    }
    TraceFlags flags = TraceFlags.getSampled();
    SpanContext span = SpanContext.create(trace, "00000000000000aa", flags, TraceState.getDefault());
    return Context.current().with(Span.wrap(span));
  }

  private static Ask row(float... values) {
    return Ask.inputs(Tensors.of("x", values, 1, values.length)).withUnit("u").withAlias("champion");
  }

  private static void tour(TurnoutClient client) throws Exception {
    Ask basel = Ask.entities(Map.of("driver", "d3", "city", "basel"));
    Prediction answer = client.predict("ride", basel.withFeatures(Map.of("hour", 7.0)).withUnit("d3"));
    List<String> statuses = answer.views().stream().map(view -> view.getStatus().name().substring(12)).toList();
    System.out.println("entity: " + scores(answer) + " " + String.join(" ", statuses));
    System.out.println("tensor: " + scores(client.predict("ride", row(1, 2, 3, 4))));
    batch(client);
    stream(client);
    acknowledge(client);
    client.recordOutcome(Outcome.of(answer, "late", 1));
    TurnoutException nameless = refusal(() -> client.recordOutcome(Outcome.of(answer, "", 1)));
    System.out.println("outcome: recorded; without a name " + said(nameless));
    System.out.println("missing: " + said(refusal(() -> client.predict("nobody", row(1, 2, 3, 4)))));
    System.out.println("invalid: " + said(refusal(() -> client.predict("ride", row(1, 2, 3)))));
    Ask slow = Ask.inputs(Tensors.of("times", new long[] {2000}, 1)).withUnit("u");
    TurnoutException late = refusal(() -> client.predict("slow", slow, Duration.ofMillis(100)));
    System.out.println("deadline: " + late.code());
  }

  private static void batch(TurnoutClient client) {
    float[] table = {1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12};
    BatchPredictRequest request =
        BatchPredictRequest.newBuilder()
            .setModel("ride")
            .setRows(3)
            .addAllUnitIds(List.of("a", "b", "c"))
            .addAllRequestIds(List.of("", "two words", ""))
            .addInputs(Tensors.of("x", table, 3, 4))
            .build();
    BatchPredictResponse response = PredictionServiceGrpc.newBlockingStub(client.channel()).batchPredict(request);
    List<String> rows = new ArrayList<>();
    for (BatchPart part : response.getPartsList()) {
      part.getRowsList().forEach(row -> rows.add(row.toString()));
    }
    List<String> refused = new ArrayList<>();
    for (RowError one : response.getErrorsList()) {
      refused.add(one.getRow() + " " + said(TurnoutException.of(one.getError())));
    }
    System.out.println("batch: rows " + String.join(" ", rows) + " answered; refused " + String.join(", ", refused));
  }

  private static void stream(TurnoutClient client) throws Exception {
    List<String> answers = new ArrayList<>();
    Collecting<StreamPredictResponse> collecting =
        new Collecting<>(
            response ->
                answers.add(
                    response.hasPrediction()
                        ? scores(Prediction.of(response.getPrediction()))
                        : said(TurnoutException.of(response.getError()))));
    var talk = PredictionServiceGrpc.newStub(client.channel()).streamPredict(collecting);
    for (String model : List.of("ride", "nobody", "ride")) {
      talk.onNext(StreamPredictRequest.newBuilder().setRequest(row(1, 2, 3, 4).of(model)).build());
    }
    talk.onCompleted();
    collecting.done.get(20, TimeUnit.SECONDS);
    System.out.println("stream: " + String.join(", ", answers));
  }

  private static void acknowledge(TurnoutClient client) throws Exception {
    Collecting<StreamOutcomesResponse> collecting =
        new Collecting<>(
            response -> System.out.println("stream of outcomes: " + response.getResultsCount() + " acknowledged"));
    var talk = OutcomeServiceGrpc.newStub(client.channel()).streamOutcomes(collecting);
    talk.onNext(StreamOutcomesRequest.newBuilder().addOutcomes(LATE.message()).addOutcomes(LATE.message()).build());
    talk.onCompleted();
    collecting.done.get(20, TimeUnit.SECONDS);
  }

  /** Hands each answer of a stream on, and tells when it is over. */
  private record Collecting<A>(Consumer<A> each, CompletableFuture<Void> done) implements StreamObserver<A> {
    Collecting(Consumer<A> each) {
      this(each, new CompletableFuture<>());
    }

    @Override
    public void onNext(A answer) {
      each.accept(answer);
    }

    @Override
    public void onError(Throwable error) {
      done.completeExceptionally(error);
    }

    @Override
    public void onCompleted() {
      done.complete(null);
    }
  }

  /** Makes calls until there is the file, and says when a hundred are answered: then a gateway may be killed. */
  private static void load(TurnoutClient client, Path until) throws InterruptedException {
    AtomicInteger done = new AtomicInteger();
    AtomicInteger failed = new AtomicInteger();
    Set<Long> versions = new ConcurrentSkipListSet<>();
    Runnable lane =
        () -> {
          while (!Files.exists(until)) {
            try {
              versions.add(client.predict("ride", row(1, 2, 3, 4), PATIENCE).version());
            } catch (TurnoutException error) {
              failed.incrementAndGet();
              error.printStackTrace();
            }
            if (done.incrementAndGet() == 100) {
              System.out.println("under load");
            }
          }
        };
    ExecutorService lanes = Executors.newFixedThreadPool(4);
    for (int number = 0; number < 4; number++) {
      lanes.submit(lane);
    }
    lanes.shutdown();
    lanes.awaitTermination(5, TimeUnit.MINUTES);
    String seen = versions.stream().map(Object::toString).collect(Collectors.joining(" "));
    System.out.println("load: " + failed + " failed, versions " + seen);
  }

  private static String scores(Prediction answer) {
    List<String> texts = new ArrayList<>();
    for (float value : Tensors.floats(answer.outputs().get("score"))) {
      texts.add(String.valueOf((int) (value * 1000)));
    }
    return String.join(" ", texts);
  }

  private static TurnoutException refusal(Runnable call) {
    try {
      call.run();
    } catch (TurnoutException error) {
      return error;
    }
    throw new IllegalStateException("the call was answered");
  }

  private static String said(TurnoutException error) {
    return error.code() + " " + error.reason();
  }
}
