/** How every program reaches the API server: one channel, keepalive, generated clients that keep unknown fields. */
import { ChannelCredentials, createChannel, createClientFactory, Metadata } from "nice-grpc";
import type { Channel, ChannelOptions, Client, ClientMiddleware, CompatServiceDefinition } from "nice-grpc";
import { deadlineMiddleware } from "nice-grpc-client-middleware-deadline";
import type { DeadlineOptions } from "nice-grpc-client-middleware-deadline";
import { errorDetailsClientMiddleware } from "nice-grpc-error-details";
import { FileCredentials } from "./file-credentials.ts";
import { lossless } from "./lossless.ts";

/** Paths of PEM files: the authority that signed the server, and this client's own certificate and key. */
export type TlsFiles = { ca: string; cert: string; key: string };
/** For callers that show no certificate, too. Without an authority those of the system are taken. */
export type ClientTls = Partial<TlsFiles>;
/** How a caller is known. Without TLS it is by the socket, or not at all; a token never travels in the clear. */
export type Access = { tls?: ClientTls; token?: string };

export type Connection = {
  channel: Channel;
  /** A client for one service on this channel. Calls take `{ signal, deadline }`. */
  client: <D extends CompatServiceDefinition>(definition: D) => Client<D, DeadlineOptions>;
} & Disposable;

const KIB = 1024;

const OPTIONS: ChannelOptions = {
  "grpc.keepalive_time_ms": 20_000,
  "grpc.keepalive_timeout_ms": 10_000,
  "grpc.keepalive_permit_without_calls": 1,
  "grpc.initial_reconnect_backoff_ms": 100,
  // Despite its name the time that one attempt may take, handshake included; nice-grpc enforces it.
  "grpc.min_reconnect_backoff_ms": 5_000,
  "grpc.max_reconnect_backoff_ms": 2_000,
  "grpc.max_receive_message_length": 16 * KIB * KIB,
  "grpc.use_local_subchannel_pool": 1,
  "grpc.enable_channelz": 0, // Nobody reads its books, and each call pays for them.
};

/** Does not wait for the server: the first call does. `server` is `host:port` or `unix:///path`. */
export function connect({ server, tls, token, options = {} }: Access & { server: string; options?: ChannelOptions }): Connection {
  const channel = createChannel(address(server, tls !== undefined), credentials(tls), { ...OPTIONS, ...options });
  const factory = createClientFactory().use(errorDetailsClientMiddleware).use(deadlineMiddleware).use(bearer(tls && token));
  return {
    channel,
    client: <D extends CompatServiceDefinition>(definition: D) => factory.create(lossless(definition as never) as D, channel) as Client<D, DeadlineOptions>,
    [Symbol.dispose]: () => channel.close(),
  };
}

function bearer(token: string | undefined): ClientMiddleware {
  return async function* bearerMiddleware(call, options) {
    const metadata = token === undefined ? options.metadata : Metadata(options.metadata).set("authorization", `Bearer ${token}`);
    return yield* call.next(call.request, metadata === undefined ? options : { ...options, metadata });
  };
}

/** grpc-js appends a port to `unix:/path`; only the form with three slashes is taken as it is. */
function address(server: string, tls: boolean): string {
  if (server.startsWith("unix:")) return `unix://${server.replace(/^unix:(\/\/)?/, "")}`;
  return `${tls ? "https" : "http"}://${server}`;
}

const credentials = (tls: ClientTls | undefined): ChannelCredentials => (tls ? new FileCredentials(tls) : ChannelCredentials.createInsecure());
