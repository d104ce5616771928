package example.turnout.client;

import java.io.IOException;
import java.io.UncheckedIOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.time.Duration;

/**
 * What a client is made with beside the address. Immutable: each method returns another.
 *
 * @param token shown with every call; empty: none
 * @param tls whether the gateway speaks TLS
 * @param ca a PEM file with the authority that alone is trusted; null: those that this machine trusts
 * @param timeout the deadline of a call that names none of its own; retries are within it
 */
public record Settings(String token, boolean tls, Path ca, Duration timeout) {
  /** No token, no TLS, and a deadline of 10 s. */
  public static final Settings PLAIN = new Settings("", false, null, Duration.ofSeconds(10));

  /** Returns what TURNOUT_TOKEN, TURNOUT_TOKEN_FILE and TURNOUT_TLS_CA say. */
  public static Settings fromEnvironment() {
    Settings said = PLAIN.withToken(said("TURNOUT_TOKEN"));
    said = said("TURNOUT_TOKEN_FILE").isEmpty() ? said : said.withTokenFile(Path.of(said("TURNOUT_TOKEN_FILE")));
    return said("TURNOUT_TLS_CA").isEmpty() ? said : said.withCa(Path.of(said("TURNOUT_TLS_CA")));
  }

  private static String said(String variable) {
    String value = System.getenv(variable);
    return value == null ? "" : value;
  }

  /** Says the token. */
  public Settings withToken(String token) {
    return new Settings(token, tls, ca, timeout);
  }

  /** Says a file with the token as its only line. */
  public Settings withTokenFile(Path file) {
    try {
      return withToken(Files.readString(file).strip());
    } catch (IOException error) {
      throw new UncheckedIOException(error);
    }
  }

  /** Encrypts, and trusts the authorities that this machine trusts. */
  public Settings withTls() {
    return new Settings(token, true, ca, timeout);
  }

  /** Encrypts, and trusts the authority in a PEM file alone. */
  public Settings withCa(Path ca) {
    return new Settings(token, true, ca, timeout);
  }

  /** Says the deadline of a call that names none of its own. */
  public Settings withTimeout(Duration timeout) {
    return new Settings(token, tls, ca, timeout);
  }

  /** Has no token in it. */
  @Override
  public String toString() {
    return "Settings[tls=" + tls + ", ca=" + ca + ", timeout=" + timeout + "]";
  }
}
