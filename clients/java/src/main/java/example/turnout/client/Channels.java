package example.turnout.client;

import io.grpc.CallOptions;
import io.grpc.Channel;
import io.grpc.ClientCall;
import io.grpc.ClientInterceptor;
import io.grpc.EquivalentAddressGroup;
import io.grpc.ForwardingClientCall.SimpleForwardingClientCall;
import io.grpc.InsecureChannelCredentials;
import io.grpc.ManagedChannel;
import io.grpc.Metadata;
import io.grpc.MethodDescriptor;
import io.grpc.NameResolver;
import io.grpc.NameResolverProvider;
import io.grpc.NameResolverRegistry;
import io.grpc.StatusOr;
import io.grpc.TlsChannelCredentials;
import io.grpc.netty.shaded.io.grpc.netty.NettyChannelBuilder;
import io.opentelemetry.api.trace.propagation.W3CTraceContextPropagator;
import io.opentelemetry.context.Context;
import java.io.IOException;
import java.io.UncheckedIOException;
import java.net.InetSocketAddress;
import java.net.URI;
import java.time.Duration;
import java.util.Arrays;
import java.util.List;
import java.util.Map;
import java.util.concurrent.TimeUnit;

/** How gateways are reached: the addresses, the retries, and what each call says beside its request. */
final class Channels {
  private static final int MESSAGE_BYTES_MAX = 16 * 1024 * 1024;
  private static final Metadata.Key<String> AUTHORIZATION =
      Metadata.Key.of("authorization", Metadata.ASCII_STRING_MARSHALLER);

  /** Calls go round the gateways, and the channel itself tries again what ended with UNAVAILABLE, and nothing else. */
  private static final Map<String, Object> SERVICE_CONFIG =
      Map.of(
          "loadBalancingConfig", List.of(Map.of("round_robin", Map.of())),
          "methodConfig",
              List.of(
                  Map.of(
                      "name", List.of(Map.of()),
                      "retryPolicy",
                          Map.of(
                              "maxAttempts", 5.0,
                              "initialBackoff", "0.1s",
                              "maxBackoff", "2s",
                              "backoffMultiplier", 3.0,
                              "retryableStatusCodes", List.of("UNAVAILABLE")))));

  static {
    NameResolverRegistry.getDefaultRegistry().register(new Several());
  }

  private Channels() {}

  static ManagedChannel open(String given, Settings settings) {
    String named = System.getenv("TURNOUT_DATA_SERVER");
    String address = !given.isEmpty() ? given : named == null || named.isEmpty() ? "127.0.0.1:8001" : named;
    if (!settings.token().isEmpty() && !settings.tls() && !isLocal(address)) {
      throw new IllegalArgumentException("the token would travel in clear: say by TLS how the gateway is known");
    }
    var credentials = InsecureChannelCredentials.create();
    try {
      if (settings.ca() != null) {
        credentials = TlsChannelCredentials.newBuilder().trustManager(settings.ca().toFile()).build();
      } else if (settings.tls()) {
        credentials = TlsChannelCredentials.create();
      }
    } catch (IOException error) {
      throw new UncheckedIOException(error);
    }
    String target = address.contains(",") ? Several.SCHEME + ":///" + address : address;
    return NettyChannelBuilder.forTarget(target, credentials)
        .channelFactory(Connection::new)
        .eventLoopGroup(Connection.THREADS)
        .defaultServiceConfig(SERVICE_CONFIG)
        .enableRetry()
        .maxInboundMessageSize(MESSAGE_BYTES_MAX)
        .intercept(new Preparing(settings.token(), settings.timeout()))
        .build();
  }

  static boolean isLocal(String address) {
    return address.startsWith("unix:")
        || Arrays.stream(address.replaceFirst("^dns:///", "").split(","))
            .map(one -> one.replaceFirst(":\\d+$", ""))
            .allMatch(host -> host.matches("localhost|\\[::1]|127(\\.\\d+){3}"));
  }

  /** Gives each call a deadline unless it is a stream or has one, the token, and the W3C trace context of the current span. */
  private record Preparing(String token, Duration timeout) implements ClientInterceptor {
    @Override
    public <Q, A> ClientCall<Q, A> interceptCall(MethodDescriptor<Q, A> method, CallOptions options, Channel next) {
      boolean bounded = options.getDeadline() != null || !method.getType().equals(MethodDescriptor.MethodType.UNARY);
      CallOptions timed = bounded ? options : options.withDeadlineAfter(timeout.toNanos(), TimeUnit.NANOSECONDS);
      return new SimpleForwardingClientCall<>(next.newCall(method, timed)) {
        @Override
        public void start(Listener<A> listener, Metadata headers) {
          if (!token.isEmpty()) {
            headers.put(AUTHORIZATION, "Bearer " + token);
          }
          W3CTraceContextPropagator.getInstance()
              .inject(Context.current(), headers, (said, key, value) ->
                  said.put(Metadata.Key.of(key, Metadata.ASCII_STRING_MARSHALLER), value));
          super.start(listener, headers);
        }
      };
    }
  }

  /** Resolves several IP:port with commas between them, which gRPC for Java has no name for. */
  private static final class Several extends NameResolverProvider {
    static final String SCHEME = "turnout";

    @Override
    public String getDefaultScheme() {
      return SCHEME;
    }

    @Override
    protected boolean isAvailable() {
      return true;
    }

    @Override
    protected int priority() {
      return 0; // no plain address is ever taken for one of these
    }

    @Override
    public NameResolver newNameResolver(URI target, NameResolver.Args args) {
      if (!SCHEME.equals(target.getScheme())) {
        return null;
      }
      List<InetSocketAddress> addresses =
          Arrays.stream(target.getPath().substring(1).split(",")).map(Several::address).toList();
      List<EquivalentAddressGroup> groups = addresses.stream().map(EquivalentAddressGroup::new).toList();
      return new NameResolver() {
        @Override
        public String getServiceAuthority() {
          return addresses.get(0).getHostString();
        }

        @Override
        public void start(Listener2 listener) {
          listener.onResult(ResolutionResult.newBuilder().setAddressesOrError(StatusOr.fromValue(groups)).build());
        }

        @Override
        public void shutdown() {}
      };
    }

    private static InetSocketAddress address(String text) {
      int colon = text.lastIndexOf(':');
      String host = text.substring(0, colon).replaceAll("[\\[\\]]", "");
      return new InetSocketAddress(host, Integer.parseInt(text.substring(colon + 1)));
    }
  }
}
