/** Connections of a real HTTP/2 server, on time that the test moves. */
import assert from "node:assert/strict";
import { once } from "node:events";
import { connect, constants, createServer } from "node:http2";
import type { ClientHttp2Session, ClientHttp2Stream, Http2Server, ServerHttp2Stream } from "node:http2";
import { type AddressInfo, connect as connectTcp } from "node:net";
import type { Socket } from "node:net";
import type { CallContext } from "nice-grpc-common";
import { ResourceExhausted, Unauthenticated } from "../../../../lib/errors.ts";
import { silentLog } from "../../../../lib/log.ts";
import { type ConnectionLimits, Connections } from "../../../../api-server/limits/connections.ts";
import { withHttp2Servers } from "../../../../api-server/limits/http2-servers.ts";
import type { Caller } from "../../../../api-server/objects.ts";
import { eventually } from "../sessions/serving.ts";
import { ManualClock } from "../sessions/manual-clock.ts";

const MIB = 1024 * 1024;
const LIMITS: ConnectionLimits = { connectionsMax: 1_000, address: { openMax: 600, pace: { burst: 1_000, perSecond: 50 } } };
const USER: Caller = { subject: "user/a", role: "user" };

describe("connections", () => {
  const cleanup: (() => void)[] = [];
  afterEach(() => {
    for (const undo of cleanup.splice(0)) undo();
  });

  /** `answer` is what is done with each call. */
  async function serve({ limits = LIMITS, answer = () => undefined }: { limits?: ConnectionLimits; answer?: (stream: ServerHttp2Stream) => void } = {}) {
    const clock = new ManualClock();
    const streaming = (path: string) => ({ requestStream: path === "/stream", responseStream: path === "/stream" });
    const connections = new Connections({ listener: "test", isLocal: false, clock, log: silentLog, limits, streaming });
    const server: Http2Server = createServer({ maxSessionMemory: 1_000 }).on("stream", (stream) => answer(stream.on("error", () => undefined)));
    connections.attach(server);
    server.listen(0, "127.0.0.1");
    await once(server, "listening");
    const { port } = server.address() as AddressInfo;
    cleanup.push(() => server.close(), () => connections[Symbol.dispose]());
    const open = (settings = {}) => {
      const session = connect(`http://127.0.0.1:${port}`, { settings });
      session.on("error", () => undefined);
      cleanup.push(() => session.destroy());
      return session;
    };
    /** With a call of somebody who is known. */
    const proven = async (settings = {}) => {
      const session = open(settings);
      await once(session, "remoteSettings");
      const { localPort } = session.socket;
      const peer = `127.0.0.1:${localPort}`;
      await connections.identifying(() => USER)({ peer } as CallContext);
      return { session, peer };
    };
    return { clock, connections, port, open, proven };
  }

  const call = (session: ClientHttp2Session, path = "/unary") => {
    const stream = session.request({ ":method": "POST", ":path": path }, { endStream: false });
    stream.on("error", () => undefined);
    return stream;
  };
  const isCut = (session: ClientHttp2Session) => eventually(async () => session.destroyed);
  const isClosed = (stream: ClientHttp2Stream) => eventually(async () => stream.closed || stream.destroyed);
  const settled = () => new Promise((resolve) => setTimeout(resolve, 50));

  it("are refused beyond the number that one address may have", async () => {
    const { open } = await serve({ limits: { ...LIMITS, address: { ...LIMITS.address, openMax: 2 } } });
    const [first, second] = [open(), open()];
    await Promise.all([once(first, "remoteSettings"), once(second, "remoteSettings")]);
    await isCut(open());
    first.destroy();
    await settled();
    await once(open(), "remoteSettings");
    assert.equal(second.destroyed, false);
  });

  it("are cut when they ping without end, and others are not", async () => {
    const { open, proven } = await serve();
    const { session: good } = await proven();
    const bad = open();
    await once(bad, "remoteSettings");
    const pinged = async (session: ClientHttp2Session) => {
      for (let n = 0; n < 150 && !session.destroyed; n += 1) await new Promise((resolve) => session.ping(resolve));
    };
    await Promise.all([pinged(good), pinged(bad)]);
    await isCut(bad);
    assert.equal(good.destroyed, false);
  });

  it("are cut when nobody who calls on them can say who he is", async () => {
    const { connections, open } = await serve();
    const session = open();
    await once(session, "remoteSettings");
    const identify = connections.identifying(() => Promise.reject(new Unauthenticated("no")));
    for (let n = 0; n < 60; n += 1) await identify({ peer: `127.0.0.1:${session.socket.localPort}` } as CallContext).catch(() => undefined);
    await isCut(session);
  });

  it("are cut when nothing comes on them, and closed when nobody is known on them for a minute", async () => {
    const { clock, port, open } = await serve();
    const silent: Socket = connectTcp(port, "127.0.0.1");
    silent.on("error", () => undefined).resume();
    const idle = open();
    await once(idle, "remoteSettings");
    await settled();
    clock.pass(10_500);
    await eventually(async () => silent.destroyed || silent.readableEnded || silent.closed);
    assert.equal(idle.destroyed, false);
    clock.pass(60_000);
    await eventually(async () => idle.closed);
  });

  it("may not send without end before anybody is known on them", async () => {
    const { clock, open, proven } = await serve({ answer: (stream) => stream.resume() });
    const send = async (session: ClientHttp2Session) => {
      const stream = call(session, "/stream");
      for (let n = 0; n < 3 && !stream.destroyed; n += 1) await new Promise((resolve) => stream.write(Buffer.alloc(MIB), resolve));
      await settled();
      clock.pass(250);
      await settled();
      return session.destroyed;
    };
    assert.equal(await send((await proven()).session), false);
    assert.equal(await send(open()), true);
  });

  it("keep no request waiting that does not come, and no answer that is not taken", async () => {
    const { clock, proven } = await serve({ answer: (stream) => stream.respond({ ":status": 200 }) });
    const { session } = await proven();
    const [half, asked, streaming] = [call(session), call(session), call(session, "/stream")];
    asked.end();
    await settled();
    clock.pass(30_500);
    await isClosed(half);
    assert.equal(asked.closed, false);
    clock.pass(60_000);
    await isClosed(asked);
    assert.equal(streaming.closed, false);
  });

  it("get no more answers when they do not read them, and are cut in the end", async () => {
    const { clock, connections, proven } = await serve({
      answer: (stream) => {
        stream.respond({ ":status": 200 });
        stream.write(Buffer.alloc(MIB));
      },
    });
    const { session, peer } = await proven({ initialWindowSize: 0 });
    for (let n = 0; n < 12; n += 1) call(session, "/stream");
    await settled();
    assert.throws(() => connections.requireRoom(peer), ResourceExhausted);
    assert.doesNotThrow(() => connections.requireRoom("127.0.0.1:1"));
    clock.pass(1_000);
    await settled();
    assert.equal(session.destroyed, false);
    for (let n = 0; n < 24; n += 1) call(session, "/stream");
    for (let looks = 0; looks < 2; looks += 1) {
      await settled();
      clock.pass(250);
    }
    await isCut(session);
  });

  it("of strangers make room for newer ones, and may have so many calls", async () => {
    const { proven, open } = await serve();
    const { session: known } = await proven();
    const first = open();
    await once(first, "remoteSettings");
    const others = Array.from({ length: 512 }, () => open());
    await Promise.all(others.map((each) => once(each, "remoteSettings")));
    await isCut(first);
    assert.equal(known.destroyed, false);
    const calls = others.slice(0, 15).flatMap((session) => Array.from({ length: 100 }, () => call(session)));
    await eventually(async () => calls.some(({ rstCode }) => rstCode === constants.NGHTTP2_REFUSED_STREAM));
    assert.ok(calls.filter(({ closed }) => closed).length <= 1_500 - 1_024);
  }).timeout(20_000);

  it("are found below a gRPC server, or it does not begin", async () => {
    const found: object[] = [];
    const server = createServer();
    await withHttp2Servers((each) => found.push(each), async () => {
      server.listen(0, "127.0.0.1");
      await once(server, "listening");
    });
    cleanup.push(() => server.close());
    assert.deepEqual(found, [server]);
    await assert.rejects(withHttp2Servers(() => undefined, async () => undefined), /was not found/);
  });
});
