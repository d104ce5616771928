package example.turnout.client;

import java.security.SecureRandom;
import java.util.UUID;

/** Identities of predictions: UUIDs of version 7, which sort by time. */
public final class RequestIds {
  private static final SecureRandom RANDOM = new SecureRandom();

  private RequestIds() {}

  /** Returns a new one. */
  public static String next() {
    long high = System.currentTimeMillis() << 16 | 0x7000 | RANDOM.nextInt(0x1000);
    long low = RANDOM.nextLong() & 0x3fff_ffff_ffff_ffffL | 0x8000_0000_0000_0000L;
    return new UUID(high, low).toString();
  }
}
