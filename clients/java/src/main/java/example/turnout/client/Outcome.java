package example.turnout.client;

/**
 * Something that happened after a prediction. Recording one twice is harmless. Immutable: each method returns another.
 */
public final class Outcome {
  private final example.turnout.outcomes.v1.Outcome message;

  private Outcome(example.turnout.outcomes.v1.Outcome.Builder message) {
    this.message = message.build();
  }

  private static example.turnout.outcomes.v1.Outcome.Builder named(String name) {
    return example.turnout.outcomes.v1.Outcome.newBuilder().setName(name);
  }

  /** Returns an outcome of a prediction: its name, for example late, and a finite value; a boolean is 0 or 1. */
  public static Outcome of(Prediction prediction, String name, double value) {
    return new Outcome(named(name).setValue(value).setRequestId(prediction.requestId()));
  }

  /** Returns an outcome of the prediction with a request id. */
  public static Outcome ofRequest(String requestId, String name, double value) {
    return new Outcome(named(name).setValue(value).setRequestId(requestId));
  }

  /** Returns an outcome of the latest earlier prediction of a unit; the id tells it from others of that name. */
  public static Outcome ofUnit(String unit, String id, String name, double value) {
    return new Outcome(named(name).setValue(value).setUnitId(unit).setOutcomeId(id));
  }

  /** Says the category that it turned out to be, in place of a value. */
  public Outcome withLabel(String label) {
    return new Outcome(message.toBuilder().clearValue().setLabel(label));
  }

  /** Says which model's prediction is meant where the subject is a unit. */
  public Outcome withModel(String model) {
    return new Outcome(message.toBuilder().setModel(model));
  }

  /** Says when it happened, in microseconds since the Unix epoch; without it: now. */
  public Outcome withEventTimeUs(long eventTimeUs) {
    return new Outcome(message.toBuilder().setEventTimeUs(eventTimeUs));
  }

  /** Corrects: of several outcomes with one subject, name and id the highest counts. */
  public Outcome withSequence(long sequence) {
    return new Outcome(message.toBuilder().setSequence(sequence));
  }

  /** Returns the outcome as the stubs take it. */
  public example.turnout.outcomes.v1.Outcome message() {
    return message;
  }
}
