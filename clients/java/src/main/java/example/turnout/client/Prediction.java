package example.turnout.client;

import example.turnout.serving.v1.PredictResponse;
import example.turnout.serving.v1.ViewReading;
import example.turnout.tensor.v1.Tensor;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;

/**
 * The answer to one call.
 *
 * @param requestId the prediction's identity; outcomes refer to it
 * @param model the model's name
 * @param version the version that answered
 * @param experiment the experiment that chose it; empty when none did
 * @param variant the variant that answered; empty outside an experiment
 * @param outputs the model's outputs by name, see {@link Tensors}
 * @param views how the stored features came about, view by view
 */
public record Prediction(
    String requestId,
    String model,
    long version,
    String experiment,
    String variant,
    Map<String, Tensor> outputs,
    List<ViewReading> views) {

  /** Returns the prediction that a message holds, for the stubs of streams. */
  public static Prediction of(PredictResponse response) {
    Map<String, Tensor> outputs = new LinkedHashMap<>();
    response.getOutputsList().forEach(output -> outputs.put(output.getName(), output));
    return new Prediction(
        response.getRequestId(),
        response.getModel(),
        response.getVersion(),
        response.getExperiment(),
        response.getVariant(),
        outputs,
        response.getFeatureStatusList());
  }
}
