package example.turnout.client;

import com.google.protobuf.ByteString;
import example.turnout.tensor.v1.DataType;
import example.turnout.tensor.v1.Tensor;
import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import java.nio.charset.StandardCharsets;
import java.util.ArrayList;
import java.util.List;
import java.util.function.Consumer;

/**
 * Arrays as tensors and back: dense, row-major, little-endian.
 *
 * <p>Java has no unsigned and no half-precision numbers: UINT8 to UINT64 and FLOAT16 travel as the bits of byte, short, int and
 * long, with their type named.
 */
public final class Tensors {
  private Tensors() {}

  /** Returns a tensor of type FLOAT32. */
  public static Tensor of(String name, float[] values, long... shape) {
    return make(name, DataType.DATA_TYPE_FLOAT32, 4 * values.length, shape, data -> data.asFloatBuffer().put(values));
  }

  /** Returns a tensor of type FLOAT64. */
  public static Tensor of(String name, double[] values, long... shape) {
    return make(name, DataType.DATA_TYPE_FLOAT64, 8 * values.length, shape, data -> data.asDoubleBuffer().put(values));
  }

  /** Returns a tensor of type BOOL. */
  public static Tensor of(String name, boolean[] values, long... shape) {
    return make(name, DataType.DATA_TYPE_BOOL, values.length, shape, data -> {
      for (boolean value : values) {
        data.put((byte) (value ? 1 : 0));
      }
    });
  }

  /** Returns a tensor of type INT64. */
  public static Tensor of(String name, long[] values, long... shape) {
    return ofBits(name, DataType.DATA_TYPE_INT64, values, shape);
  }

  /** Returns a tensor of type INT32. */
  public static Tensor of(String name, int[] values, long... shape) {
    return ofBits(name, DataType.DATA_TYPE_INT32, values, shape);
  }

  /** Returns a tensor of a type of 8 bytes: INT64, UINT64. */
  public static Tensor ofBits(String name, DataType type, long[] values, long... shape) {
    return make(name, type, 8 * values.length, shape, data -> data.asLongBuffer().put(values));
  }

  /** Returns a tensor of a type of 4 bytes: INT32, UINT32. */
  public static Tensor ofBits(String name, DataType type, int[] values, long... shape) {
    return make(name, type, 4 * values.length, shape, data -> data.asIntBuffer().put(values));
  }

  /** Returns a tensor of a type of 2 bytes: INT16, UINT16, FLOAT16. */
  public static Tensor ofBits(String name, DataType type, short[] values, long... shape) {
    return make(name, type, 2 * values.length, shape, data -> data.asShortBuffer().put(values));
  }

  /** Returns a tensor of a type of one byte: INT8, UINT8. */
  public static Tensor ofBits(String name, DataType type, byte[] values, long... shape) {
    return make(name, type, values.length, shape, data -> data.put(values));
  }

  /** Returns a tensor of type STRING. */
  public static Tensor of(String name, List<String> values, long... shape) {
    List<byte[]> texts = values.stream().map(text -> text.getBytes(StandardCharsets.UTF_8)).toList();
    int bytes = texts.stream().mapToInt(text -> 4 + text.length).sum();
    return make(name, DataType.DATA_TYPE_STRING, bytes, shape, data -> texts.forEach(text -> data.putInt(text.length).put(text)));
  }

  /** Returns the elements of a tensor of type FLOAT32. */
  public static float[] floats(Tensor tensor) {
    ByteBuffer data = read(tensor, 4, DataType.DATA_TYPE_FLOAT32);
    float[] values = new float[data.remaining() / 4];
    data.asFloatBuffer().get(values);
    return values;
  }

  /** Returns the elements of a tensor of type FLOAT64. */
  public static double[] doubles(Tensor tensor) {
    ByteBuffer data = read(tensor, 8, DataType.DATA_TYPE_FLOAT64);
    double[] values = new double[data.remaining() / 8];
    data.asDoubleBuffer().get(values);
    return values;
  }

  /** Returns the elements of a tensor of type BOOL. */
  public static boolean[] booleans(Tensor tensor) {
    ByteBuffer data = read(tensor, 1, DataType.DATA_TYPE_BOOL);
    boolean[] values = new boolean[data.remaining()];
    for (int at = 0; at < values.length; at++) {
      values[at] = data.get(at) != 0;
    }
    return values;
  }

  /** Returns the elements of a tensor of a type of 8 bytes, UINT64 as its bits. */
  public static long[] longs(Tensor tensor) {
    ByteBuffer data = read(tensor, 8, DataType.DATA_TYPE_INT64, DataType.DATA_TYPE_UINT64);
    long[] values = new long[data.remaining() / 8];
    data.asLongBuffer().get(values);
    return values;
  }

  /** Returns the elements of a tensor of a type of 4 bytes, UINT32 as its bits. */
  public static int[] ints(Tensor tensor) {
    ByteBuffer data = read(tensor, 4, DataType.DATA_TYPE_INT32, DataType.DATA_TYPE_UINT32);
    int[] values = new int[data.remaining() / 4];
    data.asIntBuffer().get(values);
    return values;
  }

  /** Returns the elements of a tensor of a type of 2 bytes, UINT16 and FLOAT16 as their bits. */
  public static short[] shorts(Tensor tensor) {
    ByteBuffer data =
        read(tensor, 2, DataType.DATA_TYPE_INT16, DataType.DATA_TYPE_UINT16, DataType.DATA_TYPE_FLOAT16);
    short[] values = new short[data.remaining() / 2];
    data.asShortBuffer().get(values);
    return values;
  }

  /** Returns the elements of a tensor of a type of one byte, UINT8 as its bits. */
  public static byte[] bytes(Tensor tensor) {
    ByteBuffer data = read(tensor, 1, DataType.DATA_TYPE_INT8, DataType.DATA_TYPE_UINT8);
    byte[] values = new byte[data.remaining()];
    data.get(values);
    return values;
  }

  /** Returns the elements of a tensor of type STRING. */
  public static List<String> texts(Tensor tensor) {
    ByteBuffer data = read(tensor, 0, DataType.DATA_TYPE_STRING);
    List<String> texts = new ArrayList<>();
    for (long left = count(tensor); left > 0; left--) {
      int length = data.remaining() < 4 ? -1 : data.getInt();
      if (length < 0 || length > data.remaining()) {
        throw new IllegalArgumentException(tensor.getName() + " ends before its " + count(tensor) + " texts do");
      }
      byte[] text = new byte[length];
      data.get(text);
      texts.add(new String(text, StandardCharsets.UTF_8));
    }
    return texts;
  }

  private static long count(Tensor tensor) {
    return tensor.getShapeList().stream().reduce(1L, Math::multiplyExact);
  }

  private static Tensor make(String name, DataType type, int bytes, long[] shape, Consumer<ByteBuffer> write) {
    ByteBuffer data = ByteBuffer.allocate(bytes).order(ByteOrder.LITTLE_ENDIAN);
    write.accept(data);
    Tensor.Builder tensor = Tensor.newBuilder().setName(name).setDataType(type);
    for (long extent : shape) {
      tensor.addShape(extent);
    }
    return tensor.setData(ByteString.copyFrom(data.array())).build();
  }

  private static ByteBuffer read(Tensor tensor, int width, DataType... types) {
    if (tensor == null) {
      throw new IllegalArgumentException("there is no such tensor");
    }
    if (!List.of(types).contains(tensor.getDataType())) {
      throw new IllegalArgumentException(tensor.getName() + " is of type " + tensor.getDataType());
    }
    if (width > 0 && tensor.getData().size() != Math.multiplyExact(count(tensor), (long) width)) {
      throw new IllegalArgumentException(
          tensor.getName() + " has " + tensor.getData().size() + " bytes, which is not what its shape takes");
    }
    return tensor.getData().asReadOnlyByteBuffer().order(ByteOrder.LITTLE_ENDIAN);
  }
}
