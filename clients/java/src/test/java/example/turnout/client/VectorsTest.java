package example.turnout.client;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertNotEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import com.google.gson.JsonArray;
import com.google.gson.JsonElement;
import com.google.gson.JsonObject;
import com.google.gson.JsonParser;
import com.google.protobuf.CodedOutputStream;
import com.google.protobuf.Message;
import example.turnout.tensor.v1.DataType;
import example.turnout.tensor.v1.Tensor;
import java.io.ByteArrayOutputStream;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.HexFormat;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.function.Function;
import java.util.stream.Stream;
import org.junit.jupiter.api.DynamicTest;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.TestFactory;

class VectorsTest {
  @TestFactory
  Stream<DynamicTest> requestsAreTheBytesThatAllClientsMake() throws IOException {
    JsonArray vectors = JsonParser.parseString(Files.readString(Path.of("../vectors.json"))).getAsJsonArray();
    assertTrue(vectors.size() >= 20);
    return vectors.asList().stream()
        .map(JsonElement::getAsJsonObject)
        .map(one -> DynamicTest.dynamicTest(one.get("case").getAsString(), () -> check(one)));
  }

  private static void check(JsonObject vector) throws IOException {
    Ask ask = Ask.entities(mapOf(vector, "entities", Function.identity()));
    for (JsonElement input : listOf(vector, "inputs")) {
      ask = ask.withInputs(tensorOf(input.getAsJsonObject()));
    }
    ask = ask.withRequestId(vector.get("request_id").getAsString());
    ask = ask.withAttributes(mapOf(vector, "attributes", Function.identity()));
    ask = ask.withFeatures(mapOf(vector, "features", Double::valueOf));
    ask = vector.has("version") ? ask.withVersion(vector.get("version").getAsLong()) : ask;
    ask = vector.has("alias") ? ask.withAlias(vector.get("alias").getAsString()) : ask;
    ask = vector.has("unit_id") ? ask.withUnit(vector.get("unit_id").getAsString()) : ask;
    ask = vector.has("event_time_us") ? ask.withEventTimeUs(vector.get("event_time_us").getAsLong()) : ask;
    String made = HexFormat.of().formatHex(bytesOf(ask.of(vector.get("model").getAsString())));
    assertEquals(vector.get("bytes").getAsString(), made);
  }

  private static byte[] bytesOf(Message message) throws IOException {
    ByteArrayOutputStream bytes = new ByteArrayOutputStream();
    CodedOutputStream coded = CodedOutputStream.newInstance(bytes);
    coded.useDeterministicSerialization();
    message.writeTo(coded);
    coded.flush();
    return bytes.toByteArray();
  }

  private static <V> Map<String, V> mapOf(JsonObject vector, String name, Function<String, V> read) {
    Map<String, V> made = new LinkedHashMap<>();
    if (vector.has(name)) {
      vector.getAsJsonObject(name).asMap().forEach((key, value) -> made.put(key, read.apply(value.getAsString())));
    }
    return made;
  }

  private static List<JsonElement> listOf(JsonObject vector, String name) {
    return vector.has(name) ? vector.getAsJsonArray(name).asList() : List.of();
  }

  private static Tensor tensorOf(JsonObject input) {
    String name = input.get("name").getAsString();
    DataType type = DataType.valueOf("DATA_TYPE_" + input.get("dtype").getAsString());
    List<String> values = listOf(input, "values").stream().map(JsonElement::getAsString).toList();
    long[] shape = listOf(input, "shape").stream().mapToLong(JsonElement::getAsLong).toArray();
    switch (input.get("dtype").getAsString()) {
      case "BOOL": {
        boolean[] made = new boolean[values.size()];
        for (int at = 0; at < made.length; at++) {
          made[at] = Boolean.parseBoolean(values.get(at));
        }
        Tensor tensor = Tensors.of(name, made, shape);
        assertArrayEquals(made, Tensors.booleans(tensor));
        return tensor;
      }
      case "INT8", "UINT8": {
        byte[] made = new byte[values.size()];
        for (int at = 0; at < made.length; at++) {
          made[at] = (byte) Integer.parseInt(values.get(at));
        }
        Tensor tensor = Tensors.ofBits(name, type, made, shape);
        assertArrayEquals(made, Tensors.bytes(tensor));
        return tensor;
      }
      case "INT16", "UINT16", "FLOAT16": {
        short[] made = new short[values.size()];
        for (int at = 0; at < made.length; at++) {
          made[at] = (short) Integer.parseInt(values.get(at));
        }
        Tensor tensor = Tensors.ofBits(name, type, made, shape);
        assertArrayEquals(made, Tensors.shorts(tensor));
        return tensor;
      }
      case "INT32", "UINT32": {
        int[] made = values.stream().mapToInt(value -> (int) Long.parseLong(value)).toArray();
        Tensor tensor = Tensors.ofBits(name, type, made, shape);
        assertArrayEquals(made, Tensors.ints(tensor));
        return tensor;
      }
      case "INT64": {
        long[] made = values.stream().mapToLong(Long::parseLong).toArray();
        Tensor tensor = Tensors.of(name, made, shape);
        assertArrayEquals(made, Tensors.longs(tensor));
        return tensor;
      }
      case "UINT64": {
        long[] made = values.stream().mapToLong(Long::parseUnsignedLong).toArray();
        Tensor tensor = Tensors.ofBits(name, type, made, shape);
        assertArrayEquals(made, Tensors.longs(tensor));
        return tensor;
      }
      case "FLOAT32": {
        float[] made = new float[values.size()];
        for (int at = 0; at < made.length; at++) {
          made[at] = Float.parseFloat(values.get(at));
        }
        Tensor tensor = Tensors.of(name, made, shape);
        assertArrayEquals(made, Tensors.floats(tensor));
        return tensor;
      }
      case "FLOAT64": {
        double[] made = values.stream().mapToDouble(Double::parseDouble).toArray();
        Tensor tensor = Tensors.of(name, made, shape);
        assertArrayEquals(made, Tensors.doubles(tensor));
        return tensor;
      }
      default: {
        Tensor tensor = Tensors.of(name, values, shape);
        assertEquals(values, Tensors.texts(tensor));
        return tensor;
      }
    }
  }

  @Test
  void tensorsThatAreNoneAreRefused() {
    Tensor whole = Tensors.of("x", List.of("ab", "c"), 2);
    for (int size = 0; size < whole.getData().size(); size++) {
      Tensor cut = whole.toBuilder().setData(whole.getData().substring(0, size)).build();
      assertThrows(IllegalArgumentException.class, () -> Tensors.texts(cut));
    }
    Tensor numbers = Tensors.of("x", new int[] {1, 2}, 2);
    assertThrows(IllegalArgumentException.class, () -> Tensors.longs(numbers));
    assertThrows(IllegalArgumentException.class, () -> Tensors.ints(numbers.toBuilder().setShape(0, 3).build()));
    assertThrows(IllegalArgumentException.class, () -> Tensors.ints(null));
  }

  @Test
  void aTokenDoesNotTravelInClear() {
    Settings secret = Settings.PLAIN.withToken("secret");
    for (String address : List.of("gateway.example:8001", "10.0.0.1:8001", "127.0.0.1:1,10.0.0.2:1", "dns:///gateway:1")) {
      assertThrows(IllegalArgumentException.class, () -> TurnoutClient.connect(address, secret));
      TurnoutClient.connect(address, secret.withTls()).close();
    }
    for (String address : List.of("127.0.0.1:8001", "localhost:8001", "[::1]:8001", "127.0.0.1:1,127.0.0.2:1")) {
      TurnoutClient.connect(address, secret).close();
    }
    assertTrue(!secret.toString().contains("secret"));
  }

  @Test
  void requestIdsAreUuidsOfVersion7() {
    assertTrue(RequestIds.next().matches("[0-9a-f]{8}-[0-9a-f]{4}-7[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}"));
    assertNotEquals(RequestIds.next(), RequestIds.next());
  }
}
