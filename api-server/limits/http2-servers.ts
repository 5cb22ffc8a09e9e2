/**
 * The HTTP/2 servers below gRPC: grpc-js shows them to nobody, but Node tells of every server that begins to listen. What
 * is asked here is whose: the ones that begin to listen within `bind`.
 */
import { AsyncLocalStorage } from "node:async_hooks";
import { channel } from "node:diagnostics_channel";
import type { Http2SecureServer, Http2Server } from "node:http2";

export type AnyHttp2Server = Http2Server | Http2SecureServer;

const LISTENING = channel("tracing:net.server.listen:asyncStart");
const binding = new AsyncLocalStorage<object>();

/** Runs `found` for each of them before it accepts anybody. Throws when there was none: limits must not go missing unseen. */
export async function withHttp2Servers<T>(found: (server: AnyHttp2Server) => void, bind: () => Promise<T>): Promise<T> {
  const own = {};
  let count = 0;
  const tell = (message: unknown) => {
    if (binding.getStore() !== own) return;
    count += 1;
    found((message as { server: AnyHttp2Server }).server);
  };
  LISTENING.subscribe(tell);
  try {
    const bound = await binding.run(own, bind);
    if (count === 0) throw new Error("Cannot limit connections: the HTTP/2 server was not found");
    return bound;
  } finally {
    LISTENING.unsubscribe(tell);
  }
}
