/** T14: a tunnel between server and agent that is made a way to somewhere else, or goes on after its error. */
import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { connect } from "node:http2";
import type { ClientHttp2Stream, IncomingHttpHeaders } from "node:http2";
import { Status } from "nice-grpc";
import type { ClientError } from "nice-grpc";
import { ReadConsoleRequest } from "../../gen/drover/v1/virtual_machine_instance.ts";
import { StartVirtualMachineRequest } from "../../gen/drover/v1/virtual_machine.ts";
import { attach, data, offered, opening, reading } from "./console.ts";
import type { Frame } from "./console.ts";
import { messages, within } from "./descriptors.ts";
import { runningOn, startInstalled } from "./server.ts";
import type { Host, Installed } from "./server.ts";

const PLACE = { namespace: "default", name: "web" };
const CONSOLE = "/drover.v1.VirtualMachineInstanceService/ReadConsole";

describe("T14: an abused tunnel", function () {
  this.timeout(60_000);
  let server: Installed;
  let host: Host;
  before(async () => {
    server = await startInstalled();
    host = await server.host("a");
    await runningOn(server, host);
    await runningOn(server, host, { name: "second" });
  });
  after(() => server?.[Symbol.asyncDispose]());

  const end = (attempt: Promise<unknown>) => attempt.then(() => "OK", (error: ClientError) => Status[error.code]!);

  it("is asked for by a machine's name alone: an offer has no host, no port and no path, and the server's half carries nothing", () => {
    const sayable = (typeName: string) => messages.find((message) => message.typeName === typeName)!.fields.map(({ name }) => name);
    assert.deepEqual(sayable("drover.agent.v1.TunnelOffer"), ["tunnel_id", "vmi_uid", "epoch", "kind", "follow", "tail_bytes"]);
    assert.deepEqual(sayable("drover.agent.v1.AttachRequest"), ["open", "data", "close"]);
    assert.deepEqual(sayable("drover.agent.v1.AttachOpen"), ["tunnel_id"]);
    assert.deepEqual(within("drover.v1.ReadConsoleRequest").filter(({ name }) => /host|port|address|path|socket/.test(name)), []);
  });

  const wrong: [string, (Frame | undefined)[], string][] = [
    ["data", [data("GET / HTTP/1.1")], "INVALID_ARGUMENT"],
    ["a close", [{ $case: "close", value: { reason: "END_OF_OUTPUT", message: "" } }], "INVALID_ARGUMENT"],
    ["nothing in it", [undefined], "INVALID_ARGUMENT"],
    ["a tunnel that nobody offered", [opening("0".repeat(32))], "PERMISSION_DENIED"],
    ["an address for a tunnel", [opening("10.0.0.1:22")], "PERMISSION_DENIED"],
    ["an object's own property for a tunnel", [opening("__proto__")], "PERMISSION_DENIED"],
  ];
  for (const [what, frames, code] of wrong) {
    it(`does not begin with ${what}, whatever is sent after it`, async () => {
      const reader = reading(server.admin, PLACE);
      const offer = await offered(host);
      assert.equal(await end(attach(host.client, ...frames, opening(offer.tunnelId), data("crept in")).ended), code);
      // Only a stream that begins as it should is the tunnel.
      const tunnel = attach(host.client, opening(offer.tunnelId), data("rightful"));
      await reader.first;
      assert.equal(await reader.next(), "rightful");
      await reader.leave();
      await tunnel.ended;
    });
  }

  it("stays what its first frame made it: a second opening on it is no opening", async () => {
    const [first, second] = [reading(server.admin, PLACE), reading(server.admin, { ...PLACE, name: "second" })];
    const offers = [await offered(host), await offered(host)];
    const tunnel = attach(host.client, opening(offers[0]!.tunnelId), opening(offers[1]!.tunnelId), data("one of them"));
    const other = attach(host.client, opening(offers[1]!.tunnelId), data("the other"));
    await Promise.all([first.first, second.first]);
    assert.deepEqual((await Promise.all([first.next(), second.next()])).sort(), ["one of them", "the other"]);
    assert.ok(tunnel.answers.every((bytes) => bytes === 0) && other.answers.every((bytes) => bytes === 0), "nothing goes to the node");
    await Promise.all([first.leave(), second.leave()]);
    await Promise.all([tunnel.ended, other.ended]);
  });

  it("ends when more comes than a frame may have, and what follows is not heard", async () => {
    const reader = reading(server.admin, PLACE);
    const { tunnelId } = await offered(host);
    const tunnel = attach(host.client, opening(tunnelId), data("x".repeat(33 * 1024)), data("after it"));
    await reader.first.catch(() => undefined);
    await assert.rejects(reader.next(), (error: ClientError) => error.code === Status.UNAVAILABLE || error.code === Status.RESOURCE_EXHAUSTED);
    await tunnel.ended.catch(() => undefined);
  });

  it("carries one request for its client: a second one on the same stream, for something else, is refused with the first", async () => {
    await server.bind("alice", "operator", ["default"]);
    const files = await server.certificate("alice");
    const session = connect(`https://${server.addresses.public}`, { ca: readFileSync(files.ca), cert: readFileSync(files.cert), key: readFileSync(files.key) });
    const machine = async () => (await server.admin.machines.getVirtualMachine(PLACE)).virtualMachine!.metadata!.resourceVersion;
    try {
      const before = await machine();
      const stream = session.request({ ":method": "POST", ":path": CONSOLE, "content-type": "application/grpc", te: "trailers" });
      stream.on("error", () => undefined);
      const answered = answer(stream);
      // As in CVE-2018-1002105: a request that fails, and behind it on the held stream one that nobody has looked at.
      stream.write(framed(ReadConsoleRequest.encode({ namespace: "default", name: "missing", follow: true }).finish()));
      stream.write(framed(StartVirtualMachineRequest.encode({ ...PLACE, requestId: "", validateOnly: false }).finish()));
      stream.end(framed(ReadConsoleRequest.encode({ ...PLACE, follow: true }).finish()));
      const { status, body } = await answered;
      assert.notEqual(status, "0");
      assert.equal(body.length, 0);
      assert.equal(await machine(), before);
      const fresh = session.request({ ":method": "POST", ":path": CONSOLE, "content-type": "application/grpc", te: "trailers" });
      fresh.end(framed(ReadConsoleRequest.encode({ namespace: "elsewhere", name: "web", follow: true }).finish()));
      assert.equal((await answer(fresh)).status, String(Status.PERMISSION_DENIED), "every stream is asked anew");
    } finally {
      session.destroy();
    }
  });
});

function framed(message: Uint8Array): Buffer {
  const head = Buffer.alloc(5);
  head.writeUInt32BE(message.length, 1);
  return Buffer.concat([head, message]);
}

/** The status of the call as its trailers, or its only headers, have it. */
function answer(stream: ClientHttp2Stream): Promise<{ status: string; body: Buffer }> {
  const body: Buffer[] = [];
  stream.on("data", (bytes: Buffer) => body.push(bytes));
  return new Promise((resolve) => {
    const heard = (headers: IncomingHttpHeaders) => headers["grpc-status"] !== undefined && resolve({ status: String(headers["grpc-status"]), body: Buffer.concat(body) });
    stream.on("response", heard).on("trailers", heard);
  });
}
