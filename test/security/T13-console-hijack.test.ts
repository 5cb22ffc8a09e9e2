/** T13: whoever wants another's console. It can be read only, through the API, by its own right, for as long as that right stands. */
import assert from "node:assert/strict";
import { Status } from "nice-grpc";
import type { ClientError } from "nice-grpc";
import { Phase, VirtualMachineInstanceStatus } from "../../gen/drover/v1/virtual_machine_instance.ts";
import { systemClock } from "../../lib/clock.ts";
import { graphics } from "../../node-agent/domain/devices/graphics.ts";
import { serialConsole } from "../../node-agent/domain/devices/console.ts";
import { ObjectMeta } from "../../gen/drover/v1/meta.ts";
import { bearer, ONCE } from "../contract/auth-server.ts";
import { attach, data, offered, opening, reading } from "./console.ts";
import { fields, messages, methods, nameOf, pathOf, valuesOf } from "./descriptors.ts";
import { runningOn, startInstalled } from "./server.ts";
import type { Clients, Host, Installed } from "./server.ts";

const PLACE = { namespace: "default", name: "web" };
/** In which a stream must have ended that its reader has lost the right to. */
const CUT_MS = 5_000;

describe("T13: a hijacked console", function () {
  this.timeout(60_000);
  let server: Installed;
  let host: Host;
  let other: Host;
  before(async () => {
    server = await startInstalled();
    [host, other] = [await server.host("a"), await server.host("b")];
    await runningOn(server, host);
    await server.admin.spaces.createNamespace({ ...ONCE, namespace: { metadata: ObjectMeta.create({ name: "elsewhere" }) } });
  });
  after(() => server?.[Symbol.asyncDispose]());

  const end = (attempt: Promise<unknown>) => attempt.then(String, (error: ClientError) => Status[error.code]!);
  /** Somebody who reads, and the agent that answers. */
  async function opened(clients: Pick<Clients, "instances">) {
    const reader = reading(clients, PLACE);
    const offer = await offered(host);
    const tunnel = attach(host.client, opening(offer.tunnelId), data("login: "));
    await reader.first;
    assert.equal(await reader.next(), "login: ");
    return { reader, offer, tunnel };
  }
  async function assertCut(reading_: Promise<string>, act: () => Promise<unknown>): Promise<string> {
    const left = end(reading_);
    await act();
    const atMs = systemClock.monotonicMs();
    const how = await left;
    assert.ok(systemClock.monotonicMs() - atMs < CUT_MS, "not at once");
    return how;
  }

  it("cannot be typed into, and has no ticket to steal: reading is the only call, and a client has no half of a stream", () => {
    const consoles = methods.filter(({ name }) => /Console|Vnc|Serial|Attach|Tunnel|PortForward|Exec/.test(name)).map(({ name, methodKind }) => `${name} ${methodKind}`);
    assert.deepEqual(consoles.sort(), ["Attach bidi_streaming", "ReadConsole server_streaming"]);
    const users = methods.filter((method) => pathOf(method).startsWith("/drover.v1.") && (method.methodKind === "bidi_streaming" || method.methodKind === "client_streaming"));
    assert.deepEqual(users.map(pathOf), []);
    assert.deepEqual(messages.find(({ typeName }) => typeName === "drover.v1.ReadConsoleRequest")!.fields.map(({ name }) => name), ["namespace", "name", "follow", "tail_bytes"]);
    assert.deepEqual(valuesOf("drover.agent.v1.TunnelKind"), ["TUNNEL_KIND_UNSPECIFIED", "TUNNEL_KIND_CONSOLE_OUTPUT"]);
    assert.deepEqual(fields.map(nameOf).filter((name) => /ticket|vnc_|console_(token|password|url)/.test(name)), []);
  });

  it("listens on no network of the host's: the display and the serial port are unix sockets", () => {
    const paths = { directory: "/d", consoleSocket: "/d/console.sock", consoleLog: "/d/console.log", nvram: "/d/nvram" };
    const devices = JSON.stringify([graphics(), serialConsole(paths)]);
    assert.match(devices, /"socket"/);
    assert.doesNotMatch(devices, /tcp|0\.0\.0\.0|"port":\d{3,}|autoport|websocket|"address"/);
  });

  it("is for whoever has the right to it in its namespace, be the machine there or not", async () => {
    await server.bind("viewer", "viewer");
    await server.bind("neighbour", "operator", ["elsewhere"]);
    for (const user of ["viewer", "neighbour", "nobody"]) {
      const clients = await server.as(user);
      for (const name of ["web", "missing"]) assert.equal(await end(reading(clients, { ...PLACE, name }).first), "PERMISSION_DENIED", `${user} ${name}`);
    }
    assert.equal(await end(reading(server.public({ ca: server.ca }), PLACE).first), "UNAUTHENTICATED");
    const asNode = server.public(other.files.agent);
    assert.equal(await end(reading(asNode, PLACE).first), "UNAUTHENTICATED");
  });

  it("ends within a second when the reader's right goes", async () => {
    await server.bind("alice", "operator", ["default"]);
    const { reader, tunnel } = await opened(await server.as("alice"));
    const how = await assertCut(reader.next(), () => server.admin.bindings.deleteRoleBinding({ ...ONCE, name: "alice-operator-default", uid: "", resourceVersion: "" }));
    assert.match(how, /^(ABORTED|PERMISSION_DENIED)$/);
    await tunnel.ended;
    assert.equal(await end(reading(await server.as("alice"), PLACE).first), "PERMISSION_DENIED");
  });

  it("ends within a second when the reader's token is revoked", async () => {
    const { token } = await server.admin.auth.createServiceToken({ name: "robot", role: "operator", namespaces: [], ttlSeconds: 0, ...ONCE });
    const { instances } = server.public({ ca: server.ca });
    const leaving = new AbortController();
    const stream = instances.readConsole({ ...PLACE, follow: true }, { ...bearer(token), signal: leaving.signal })[Symbol.asyncIterator]();
    const first = stream.next();
    attach(host.client, opening((await offered(host)).tunnelId));
    await first;
    const how = await assertCut(stream.next().then(({ done }) => (done ? "END" : "more")), () => server.admin.auth.revokeServiceToken({ ...ONCE, name: "robot" }));
    assert.match(how, /^(ABORTED|PERMISSION_DENIED|UNAUTHENTICATED)$/);
  });

  it("is answered by the node that has the machine, once, and by no other that learned the tunnel's name", async () => {
    const reader = reading(server.admin, PLACE);
    const { tunnelId } = await offered(host);
    assert.equal(await end(attach(other.client, opening(tunnelId), data("false login: ")).ended), "PERMISSION_DENIED");
    const tunnel = attach(host.client, opening(tunnelId), data("login: "));
    await reader.first;
    assert.equal(await reader.next(), "login: ");
    assert.equal(await end(attach(host.client, opening(tunnelId), data("again")).ended), "PERMISSION_DENIED", "used");
    await reader.leave();
    await tunnel.ended;
    assert.equal(await end(attach(host.client, opening(tunnelId)).ended), "PERMISSION_DENIED", "over");
  });

  it("ends within a second when the machine has moved, and what the former node sends is heard no more", async () => {
    const { reader, tunnel } = await opened(server.admin);
    const { virtualMachineInstance: vmi } = await server.admin.instances.getVirtualMachineInstance(PLACE);
    const status = VirtualMachineInstanceStatus.fromPartial({ ...vmi!.status!, phase: Phase.RUNNING, nodeName: "b", epoch: 2, lastGrantedEpoch: 2, claim: { ...vmi!.status!.claim!, epoch: 2, nodeName: "b" } });
    const how = await assertCut(reader.next(), () => server.admin.instances.updateVirtualMachineInstanceStatus({ virtualMachineInstance: { ...vmi!, status } }));
    assert.equal(how, "ABORTED");
    tunnel.send(data("still here: "));
    await tunnel.ended;
  });
});
