/** How large a call may be: what it carries, what that becomes when it is unpacked, and its headers. */
import assert from "node:assert/strict";
import { gzipSync } from "node:zlib";
import { once } from "node:events";
import { connect as connectHttp2 } from "node:http2";
import type { ClientHttp2Session, IncomingHttpHeaders } from "node:http2";
import { Namespace, CreateNamespaceRequest } from "../../gen/drover/v1/namespace.ts";
import { ONCE, startServer } from "./api-process.ts";
import type { Server } from "./api-process.ts";

const CREATE = "/drover.v1.NamespaceService/CreateNamespace";
const MIB = 1024 * 1024;

describe("the size of a call", function () {
  this.timeout(30_000);
  let server: Server;
  let session: ClientHttp2Session;
  before(async () => {
    server = await startServer();
    session = connectHttp2(`http://${server.address}`);
    await once(session, "remoteSettings");
  });
  after(async () => {
    session.destroy();
    await server[Symbol.asyncDispose]();
  });

  /** The gRPC status that a compressed message is answered with; undefined when the stream was reset. */
  async function sent(message: Buffer, headers: Record<string, string> = {}): Promise<string | undefined> {
    const stream = session.request({ ":method": "POST", ":path": CREATE, te: "trailers", "content-type": "application/grpc", "grpc-encoding": "gzip", ...headers });
    const status = new Promise<string | undefined>((resolve) => {
      const look = ({ "grpc-status": code }: IncomingHttpHeaders) => typeof code === "string" && resolve(code);
      stream.on("response", look).on("trailers", look).on("error", () => resolve(undefined)).on("close", () => resolve(undefined)).resume();
    });
    const head = Buffer.from([1, 0, 0, 0, 0]);
    head.writeUInt32BE(message.length, 1);
    stream.end(Buffer.concat([head, message]));
    return status;
  }

  const request = (note: string, name = "packed") =>
    Buffer.from(CreateNamespaceRequest.encode(CreateNamespaceRequest.create({ ...ONCE, namespace: Namespace.create({ metadata: { name, annotations: { note } } }) })).finish());

  it("is that of the message unpacked", async () => {
    assert.equal(await sent(gzipSync(request("n".repeat(10_000)))), "0");
    const bomb = gzipSync(request("n".repeat(64 * MIB), "bomb"));
    assert.ok(bomb.length < MIB / 8, "is small as it comes");
    assert.equal(await sent(bomb), "8", "RESOURCE_EXHAUSTED");
    assert.equal(await sent(Buffer.from("this is no gzip")), "13");
    assert.equal(await sent(gzipSync(request("n", "after"))), "0");
  });

  it("is that of its headers, too", async () => {
    assert.equal(await sent(gzipSync(request("n", "short")), { note: "x".repeat(4_000) }), "0");
    assert.equal(await sent(gzipSync(request("n", "long")), { note: "x".repeat(9_000) }), "8");
    assert.equal(await sent(gzipSync(request("n", "longer")), { note: "x".repeat(40_000) }), undefined);
    assert.equal(await sent(gzipSync(request("n", "again"))), "0", "the connection stands");
  });
});
