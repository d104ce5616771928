import example.turnout.client.Ask;
import example.turnout.client.Outcome;
import example.turnout.client.Prediction;
import example.turnout.client.Tensors;
import example.turnout.client.TurnoutClient;
import example.turnout.client.TurnoutException;

class First {
  public static void main(String[] arguments) {
    try (TurnoutClient client = TurnoutClient.connect()) { // TURNOUT_DATA_SERVER, else 127.0.0.1:8001
      var flower = Tensors.of("flower", new float[] {5.1f, 3.5f, 1.4f, 0.2f}, 1, 4);
      Prediction answer = client.predict("iris", Ask.inputs(flower).withUnit("flower-1"));
      float[] chances = Tensors.floats(answer.outputs().get("probabilities"));
      System.out.printf("version %d: a virginica by %.3f%n", answer.version(), chances[1]);
      client.recordOutcome(Outcome.of(answer, "virginica", 0));
    } catch (TurnoutException error) {
      System.err.println(error.getMessage());
      System.exit(1);
    }
  }
}
