package turnout

import (
	"cmp"
	"context"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	"os"
	"strings"
	"time"

	"go.opentelemetry.io/otel/propagation"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/resolver"
	"google.golang.org/grpc/resolver/manual"
)

// TimeoutDefault is the deadline of a call whose context has none; retries are within it.
const TimeoutDefault = 10 * time.Second

const messageBytesMax = 16 << 20

// Calls go round the gateways, and the channel itself tries again what ended with UNAVAILABLE, and nothing else.
const serviceConfig = `{
  "loadBalancingConfig": [{"round_robin": {}}],
  "methodConfig": [{"name": [{}], "retryPolicy": {"maxAttempts": 5, "initialBackoff": "0.1s", "maxBackoff": "2s",
    "backoffMultiplier": 3, "retryableStatusCodes": ["UNAVAILABLE"]}}]
}`

type settings struct {
	token   string
	tls     *tls.Config
	timeout time.Duration
	options []grpc.DialOption
}

// Setting is what Dial takes beside the address.
type Setting func(*settings) error

// Token is shown with every call.
func Token(token string) Setting {
	return func(s *settings) error { s.token = token; return nil }
}

// TokenFile has the token as its only line.
func TokenFile(path string) Setting {
	return func(s *settings) error {
		data, err := os.ReadFile(path)
		s.token = strings.TrimSpace(string(data))
		return err
	}
}

// TLS encrypts; nil trusts the authorities that this machine trusts.
func TLS(config *tls.Config) Setting {
	return func(s *settings) error {
		if config == nil {
			config = &tls.Config{MinVersion: tls.VersionTLS12}
		}
		s.tls = config
		return nil
	}
}

// CA encrypts, and trusts the authority in a PEM file alone.
func CA(path string) Setting {
	return func(s *settings) error {
		data, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		pool := x509.NewCertPool()
		if !pool.AppendCertsFromPEM(data) {
			return fmt.Errorf("%s holds no certificate", path)
		}
		s.tls = &tls.Config{RootCAs: pool, MinVersion: tls.VersionTLS12}
		return nil
	}
}

// Timeout is the deadline of a call whose context has none, in place of TimeoutDefault.
func Timeout(timeout time.Duration) Setting {
	return func(s *settings) error { s.timeout = timeout; return nil }
}

// Options go to gRPC as they are.
func Options(options ...grpc.DialOption) Setting {
	return func(s *settings) error { s.options = append(s.options, options...); return nil }
}

// fromEnvironment returns what the variables say that the command line and the other clients read too.
func fromEnvironment() []Setting {
	given := []Setting{}
	for name, setting := range map[string]func(string) Setting{
		"TURNOUT_TOKEN": Token, "TURNOUT_TOKEN_FILE": TokenFile, "TURNOUT_TLS_CA": CA,
	} {
		if value := os.Getenv(name); value != "" {
			given = append(given, setting(value))
		}
	}
	return given
}

func connect(address string, given []Setting) (*grpc.ClientConn, error) {
	if address == "" {
		address = cmp.Or(os.Getenv("TURNOUT_DATA_SERVER"), "127.0.0.1:8001")
	}
	s := settings{timeout: TimeoutDefault}
	for _, set := range append(fromEnvironment(), given...) {
		if err := set(&s); err != nil {
			return nil, fmt.Errorf("turnout: %w", err)
		}
	}
	transport := insecure.NewCredentials()
	if s.tls != nil {
		transport = credentials.NewTLS(s.tls)
	} else if s.token != "" && !isLocal(address) {
		return nil, errors.New("turnout: the token would travel in clear: say by TLS or CA how the gateway is known")
	}
	prepare := func(ctx context.Context) context.Context {
		carrier := propagation.MapCarrier{}
		propagation.TraceContext{}.Inject(ctx, carrier) // W3C; nothing where the context has no span
		if s.token != "" {
			carrier["authorization"] = "Bearer " + s.token
		}
		for key, value := range carrier {
			ctx = metadata.AppendToOutgoingContext(ctx, key, value)
		}
		return ctx
	}
	unary := func(ctx context.Context, method string, request, reply any, connection *grpc.ClientConn,
		invoke grpc.UnaryInvoker, options ...grpc.CallOption) error {
		if _, has := ctx.Deadline(); !has {
			var cancel context.CancelFunc
			ctx, cancel = context.WithTimeout(ctx, s.timeout)
			defer cancel()
		}
		return invoke(prepare(ctx), method, request, reply, connection, options...)
	}
	stream := func(ctx context.Context, description *grpc.StreamDesc, connection *grpc.ClientConn, method string,
		open grpc.Streamer, options ...grpc.CallOption) (grpc.ClientStream, error) {
		return open(prepare(ctx), description, connection, method, options...)
	}
	options := []grpc.DialOption{
		grpc.WithTransportCredentials(transport),
		grpc.WithDefaultServiceConfig(serviceConfig),
		grpc.WithChainUnaryInterceptor(unary),
		grpc.WithChainStreamInterceptor(stream),
		grpc.WithDefaultCallOptions(grpc.MaxCallRecvMsgSize(messageBytesMax), grpc.MaxCallSendMsgSize(messageBytesMax)),
	}
	target := address
	if strings.Contains(address, ",") {
		several := manual.NewBuilderWithScheme("turnout")
		state := resolver.State{}
		for _, one := range strings.Split(address, ",") {
			state.Addresses = append(state.Addresses, resolver.Address{Addr: one, ServerName: hostOf(one)})
		}
		several.InitialState(state)
		options = append(options, grpc.WithResolvers(several))
		target = "turnout:///" + hostOf(state.Addresses[0].Addr)
	}
	return grpc.NewClient(target, append(options, s.options...)...)
}

func hostOf(address string) string {
	host, _, err := net.SplitHostPort(address)
	if err != nil {
		return address
	}
	return host
}

func isLocal(address string) bool {
	if strings.HasPrefix(address, "unix:") {
		return true
	}
	for _, one := range strings.Split(strings.TrimPrefix(address, "dns:///"), ",") {
		host := hostOf(one)
		ip := net.ParseIP(host)
		if host != "localhost" && (ip == nil || !ip.IsLoopback()) {
			return false
		}
	}
	return true
}

// NewRequestID returns an identity for a prediction: a UUID of version 7, which sorts by time.
func NewRequestID() string {
	var id [16]byte
	_, _ = rand.Read(id[6:]) // never fails: the program would have ended
	for at, ms := 5, time.Now().UnixMilli(); at >= 0; at, ms = at-1, ms>>8 {
		id[at] = byte(ms)
	}
	id[6] = id[6]&0x0f | 0x70
	id[8] = id[8]&0x3f | 0x80
	return fmt.Sprintf("%x-%x-%x-%x-%x", id[:4], id[4:6], id[6:8], id[8:10], id[10:])
}
