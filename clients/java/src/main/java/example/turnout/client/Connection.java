package example.turnout.client;

import io.grpc.netty.shaded.io.netty.channel.ChannelFutureListener;
import io.grpc.netty.shaded.io.netty.channel.ChannelHandlerContext;
import io.grpc.netty.shaded.io.netty.channel.ChannelOutboundHandlerAdapter;
import io.grpc.netty.shaded.io.netty.channel.ChannelPromise;
import io.grpc.netty.shaded.io.netty.channel.EventLoopGroup;
import io.grpc.netty.shaded.io.netty.channel.nio.NioEventLoopGroup;
import io.grpc.netty.shaded.io.netty.channel.socket.nio.NioSocketChannel;
import io.grpc.netty.shaded.io.netty.util.concurrent.DefaultThreadFactory;
import java.io.IOException;
import java.nio.channels.ClosedChannelException;

/**
 * A connection that calls a write to what has just broken a failure of the network. Netty calls it a closed channel, which gRPC tells
 * all calls of the connection as UNKNOWN, and UNAVAILABLE alone is tried again.
 */
final class Connection extends NioSocketChannel {
  /** The threads of all clients' connections; they end with the program. */
  static final EventLoopGroup THREADS =
      new NioEventLoopGroup(Runtime.getRuntime().availableProcessors(), new DefaultThreadFactory("turnout-client", true));

  Connection() {
    pipeline().addLast(new Telling());
  }

  private static final class Telling extends ChannelOutboundHandlerAdapter {
    @Override
    public void write(ChannelHandlerContext context, Object message, ChannelPromise promise) {
      if (promise.isVoid()) {
        context.write(message, promise);
        return;
      }
      ChannelFutureListener tell =
          written -> {
            if (written.isSuccess()) {
              promise.trySuccess();
            } else if (written.cause() instanceof ClosedChannelException closed) {
              promise.tryFailure(new IOException("the connection broke", closed));
            } else {
              promise.tryFailure(written.cause());
            }
          };
      context.write(message, context.newPromise().addListener(tell));
    }
  }
}
