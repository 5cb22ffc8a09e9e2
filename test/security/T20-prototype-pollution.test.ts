/** T20: names that mean something to JavaScript, and numbers that it cannot hold. */
import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { create, toBinary } from "@bufbuild/protobuf";
import { Client, credentials, status as Code } from "@grpc/grpc-js";
import { Status } from "nice-grpc";
import type { ClientError } from "nice-grpc";
import { ObjectMeta } from "../../gen/drover/v1/meta.ts";
import { loadSchema } from "../../api-server/schema.ts";
import { EVERYTHING, ONCE } from "../contract/auth-server.ts";
import { machineOf, nodeOf, nodeReportOf, startInstalled } from "./server.ts";
import type { Host, Installed } from "./server.ts";

const INHERITED = ["constructor", "toString", "valueOf", "hasOwnProperty", "isPrototypeOf"];
const ROUNDED = 2n ** 53n + 1n;
const ROOT = join(import.meta.dirname, "../..");

describe("T20: names of JavaScript's own, and numbers beyond it", function () {
  this.timeout(60_000);
  let server: Installed;
  let host: Host;
  before(async () => {
    server = await startInstalled();
    host = await server.host("a");
  });
  after(() => server?.[Symbol.asyncDispose]());

  const end = (attempt: Promise<unknown>) => attempt.then(() => "OK", (error: ClientError) => Status[error.code]!);
  const got = async (name: string) => (await server.admin.machines.getVirtualMachine({ namespace: "default", name })).virtualMachine!;

  it("are labels and annotations like any other, and nobody else's", async () => {
    const entries = Object.fromEntries(INHERITED.map((name) => [name, "mine"]));
    const metadata = ObjectMeta.create({ name: "named", namespace: "default", labels: entries, annotations: entries });
    await server.admin.machines.createVirtualMachine({ ...ONCE, virtualMachine: { ...machineOf("named"), metadata } });
    await server.admin.machines.createVirtualMachine({ ...ONCE, virtualMachine: machineOf("plain") });
    assert.deepEqual((await got("named")).metadata!.labels, entries);
    assert.deepEqual((await got("plain")).metadata!.labels, {});
    for (const name of INHERITED) {
      for (const [labelSelector, expected] of [[name, ["named"]], [`${name}=mine`, ["named"]], [`!${name}`, ["plain"]], [`${name} in (mine)`, ["named"]]] as const) {
        const { virtualMachines } = await server.admin.machines.listVirtualMachines({ ...EVERYTHING, labelSelector });
        assert.deepEqual(virtualMachines.map((each) => each.metadata!.name), expected, labelSelector);
      }
    }
  });

  it("change no prototype, in no map and on no way in", async () => {
    const evil = Object.defineProperty({ ok: "yes" } as Record<string, string>, "__proto__", { value: "polluted", enumerable: true });
    const metadata = ObjectMeta.create({ name: "proto", namespace: "default" });
    for (const maps of [{ labels: evil }, { annotations: evil }]) {
      const answer = await end(server.admin.machines.createVirtualMachine({ ...ONCE, virtualMachine: { ...machineOf("proto"), metadata: { ...metadata, ...maps } } }));
      assert.match(answer, /^(INVALID_ARGUMENT|OK|ALREADY_EXISTS)$/);
    }
    await end(server.admin.machines.createVirtualMachine({ ...ONCE, virtualMachine: machineOf("selecting", { spec: { domain: { memory: { guest: "16Mi" } }, nodeSelector: evil } }) }));
    for (const paths of [["__proto__"], ["constructor.prototype.polluted"], ["metadata.labels.__proto__"], ["spec.__proto__.polluted"]]) {
      const before = await got("plain");
      assert.equal(await end(server.admin.machines.updateVirtualMachine({ ...ONCE, virtualMachine: before, updateMask: paths })), "INVALID_ARGUMENT", paths.join());
    }
    for (const fieldSelector of ["__proto__=x", "constructor.name=Object", "metadata.__proto__=x"]) {
      assert.equal(await end(server.admin.machines.listVirtualMachines({ ...EVERYTHING, fieldSelector })), "INVALID_ARGUMENT", fieldSelector);
    }
    await host.client.report(nodeReportOf(host.agent, { machineAliases: Object.defineProperty({ constructor: "x" } as Record<string, string>, "__proto__", { value: "polluted", enumerable: true }), kvmMessage: "constructor" }));
    assert.equal((await nodeOf(server, "a")).status!.report!.machineAliases["constructor"], "x");
    for (const name of ["__proto__", "constructor", "toString"]) {
      assert.match(await end(server.admin.machines.getVirtualMachine({ namespace: name, name })), /^(NOT_FOUND|INVALID_ARGUMENT)$/);
      assert.match(await end(server.admin.auth.checkAccess({ verb: name, kind: name, namespace: "", name: "" })), /^(OK|INVALID_ARGUMENT)$/);
      assert.match(await end(server.admin.nodes.createNodeToken({ ...ONCE, name, ttlSeconds: 0 })), name === "constructor" ? /^OK$/ : /^INVALID_ARGUMENT$/);
    }
    // Whoever asks for a right by such a name has it as little as any other.
    const nobody = await server.as("constructor");
    assert.equal((await nobody.auth.checkAccess({ verb: "get", kind: "VirtualMachine", namespace: "", name: "constructor" })).allowed, false);
    assert.equal(await end(nobody.machines.listVirtualMachines(EVERYTHING)), "PERMISSION_DENIED");
    const { out } = await server.drover(["get", "vm", "plain", "-o", "json"]);
    assert.doesNotMatch(out, /polluted/);
  });

  it("come from a manifest as they are written, or not at all", async () => {
    const apply = (metadata: string, guest = "16Mi") =>
      server.drover(["apply", "-f", "-"], { input: `apiVersion: drover.dev/v1\nkind: VirtualMachine\nmetadata: ${metadata}\nspec: {runStrategy: Manual, template: {spec: {domain: {memory: {guest: ${guest}}}}}}\n` });
    const own = await apply('{name: written, labels: {constructor: a, toString: b}, annotations: {constructor: c}}');
    assert.equal(own.code, 0, own.errors);
    assert.deepEqual((await got("written")).metadata!.labels, { constructor: "a", toString: "b" });
    for (const metadata of ['{name: x, __proto__: {labels: {polluted: "yes"}}}', '{name: x, constructor: {prototype: {polluted: "yes"}}}']) assert.notEqual((await apply(metadata)).code, 0, metadata);
    await apply('{name: last, labels: {__proto__: polluted}}');
    assert.equal((await got("plain")).metadata!.labels["polluted"], undefined);
    for (const exact of [ROUNDED, 2n ** 63n - 1n, 2n ** 64n]) {
      const { code, errors } = await apply("{name: huge}", String(exact));
      assert.notEqual(code, 0);
      if (/\d{16}/.test(errors)) assert.ok(errors.includes(String(exact)), "it is told of the number that was written, not of its neighbour");
    }
  });

  it("are refused as numbers where JavaScript would round them", async () => {
    const schema = loadSchema();
    const { ca, cert, key } = host.files.agent;
    const raw = new Client(server.addresses.agents, credentials.createSsl(readFileSync(ca), readFileSync(key), readFileSync(cert)));
    const send = (rpc: string, typeName: string, fields: Record<string, unknown>) => new Promise<string>((resolve) => {
      const type = schema.message(typeName);
      const bytes = Buffer.from(toBinary(type, create(type, fields)));
      raw.makeUnaryRequest(`/drover.agent.v1.NodeAgentService/${rpc}`, (sent: Buffer) => sent, (answer) => answer, bytes, (error) => resolve(Code[error?.code ?? 0] ?? ""));
    });
    const claim = { namespace: "default", name: "none", vmiUid: "x", boot: {}, agentInstance: host.agent.instance };
    const report = { agentInstance: host.agent.instance, namespace: "default", name: "none", vmiUid: "x" };
    assert.equal(await send("Claim", "drover.agent.v1.ClaimRequest", { ...claim, epoch: 1n }), "PERMISSION_DENIED", "a number that is one");
    for (const number of [ROUNDED, -ROUNDED, 2n ** 63n - 1n]) {
      assert.equal(await send("Claim", "drover.agent.v1.ClaimRequest", { ...claim, epoch: number }), "INVALID_ARGUMENT");
      assert.equal(await send("Report", "drover.agent.v1.ReportRequest", { ...report, seq: number }), "INVALID_ARGUMENT");
    }
    raw.close();
    await host.client.renew({ sessionId: host.welcome.sessionId });
  });

  it("meet no code that is made from a description while it runs", () => {
    const { dependencies } = JSON.parse(readFileSync(join(ROOT, "package.json"), "utf8")) as { dependencies: Record<string, string> };
    assert.deepEqual(Object.keys(dependencies).filter((name) => /protobufjs|proto-loader|google-protobuf/.test(name)), []);
    assert.equal(({} as Record<string, unknown>)["polluted"], undefined);
  });
});
