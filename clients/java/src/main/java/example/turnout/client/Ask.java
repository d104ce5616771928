package example.turnout.client;

import example.turnout.serving.v1.PredictRequest;
import example.turnout.tensor.v1.Tensor;
import java.util.Map;

/** What a call for a prediction says, but for the model. Immutable: each method returns another. */
public final class Ask {
  private final PredictRequest request;

  private Ask(PredictRequest.Builder request) {
    this.request = request.build();
  }

  /** Returns what stored features are looked up for: join key to value, for example carrier to UA. */
  public static Ask entities(Map<String, String> entities) {
    return new Ask(PredictRequest.newBuilder().putAllEntities(entities));
  }

  /** Returns the model's inputs as tensors, see {@link Tensors}. */
  public static Ask inputs(Tensor... inputs) {
    return new Ask(PredictRequest.newBuilder().addAllInputs(java.util.List.of(inputs)));
  }

  /** Adds inputs. */
  public Ask withInputs(Tensor... inputs) {
    return new Ask(request.toBuilder().addAllInputs(java.util.List.of(inputs)));
  }

  /** Adds entities. */
  public Ask withEntities(Map<String, String> entities) {
    return new Ask(request.toBuilder().putAllEntities(entities));
  }

  /** Adds features given by the caller; each wins over the stored value. */
  public Ask withFeatures(Map<String, Double> features) {
    return new Ask(request.toBuilder().putAllFeatures(features));
  }

  /** Says what is assigned and observed; without it and with exactly one entity it is that entity's value. */
  public Ask withUnit(String unit) {
    return new Ask(request.toBuilder().setUnitId(unit));
  }

  /** Pins the version that answers; such a call is in no experiment. */
  public Ask withVersion(long version) {
    return new Ask(request.toBuilder().setVersion(version));
  }

  /** Pins what answers by an alias; such a call is in no experiment. */
  public Ask withAlias(String alias) {
    return new Ask(request.toBuilder().setAlias(alias));
  }

  /** Adds facts that targeting and reports may use. */
  public Ask withAttributes(Map<String, String> attributes) {
    return new Ask(request.toBuilder().putAllAttributes(attributes));
  }

  /** Says when the event happened, in microseconds since the Unix epoch; without it: now. */
  public Ask withEventTimeUs(long eventTimeUs) {
    return new Ask(request.toBuilder().setEventTimeUs(eventTimeUs));
  }

  /** Names the prediction; without it an identity is made before the first try, so that a retry is the same one. */
  public Ask withRequestId(String requestId) {
    return new Ask(request.toBuilder().setRequestId(requestId));
  }

  /** Returns the message that asks a model, for the stubs of streams. */
  public PredictRequest of(String model) {
    PredictRequest.Builder asked = request.toBuilder().setModel(model);
    return asked.getRequestId().isEmpty() ? asked.setRequestId(RequestIds.next()).build() : asked.build();
  }
}
