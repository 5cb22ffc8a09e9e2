/** T18: text made to look like a line of the log, or to work on the terminal of who reads it. */
import assert from "node:assert/strict";
import { Client, credentials, Metadata as GrpcMetadata } from "@grpc/grpc-js";
import { readFileSync } from "node:fs";
import { Metadata } from "nice-grpc";
import { ObjectMeta } from "../../gen/drover/v1/meta.ts";
import { EventType, Event } from "../../gen/drover/v1/event.ts";
import { OwnerReport, DomainState } from "../../gen/drover/v1/virtual_machine_instance.ts";
import { ONCE } from "../contract/auth-server.ts";
import { attach, offered, opening, reading } from "./console.ts";
import { unsafeIn } from "./unsafe.ts";
import { machineOf, nodeReportOf, reportOf, runningOn, startInstalled } from "./server.ts";
import type { Installed } from "./server.ts";

const FORGED = '{"level":60,"msg":"forged"}';
const EVIL = `x\r\n${FORGED}\n\u001B[31m\u009B2J\u202Eevil\u2066\u2028`;

describe("T18: text that would be more than text", function () {
  this.timeout(60_000);
  let server: Installed;
  before(async () => {
    server = await startInstalled();
    const host = await server.host("liar");
    const { instance } = await runningOn(server, host);
    await insert();
    // From a host: its reports, its events, how it ends a console.
    await Promise.all([
      host.client.report(nodeReportOf(host.agent, { hostname: EVIL, kvmMessage: EVIL, hypervisorMessage: EVIL })),
      host.client.report(reportOf(host.agent, instance, { $case: "owner", value: OwnerReport.create({ generation: 2, state: DomainState.PAUSED, reason: EVIL, message: EVIL }) }, 2)),
      host.client.report(reportOf(host.agent, instance, { $case: "event", value: Event.create({ regarding: { kind: "Node", name: "liar" }, reason: EVIL, message: EVIL, source: EVIL, type: EventType.WARNING }) }, 3)),
    ].map((attempt) => attempt.catch(() => undefined)));
    const reader = reading(server.admin, { namespace: "default", name: "web" });
    const tunnel = attach(host.client, opening((await offered(host)).tunnelId), { $case: "close", value: { reason: "FAILED", message: EVIL } });
    await reader.next().catch(() => undefined);
    await tunnel.ended.catch(() => undefined);
    await server.admin.nodes.confirmFenced({ ...ONCE, name: "liar", typedName: EVIL, reason: EVIL }).catch(() => undefined);
  });
  after(() => server?.[Symbol.asyncDispose]());

  /** From callers, known and unknown: wherever a text can be put. */
  async function insert(): Promise<void> {
    const { admin, addresses, ca } = server;
    const stranger = server.public({ ca });
    const issuer = [{ alg: "none" }, { iss: EVIL, sub: EVIL, aud: EVIL }].map((part) => Buffer.from(JSON.stringify(part)).toString("base64url")).join(".");
    const attempts: Promise<unknown>[] = [
      ...[`${issuer}.`, "dst1.x", `dst1.${"a".repeat(63)}.${"b".repeat(52)}`].map((token) => stranger.auth.whoAmI({}, { metadata: Metadata({ authorization: `Bearer ${token}` }) })),
      admin.machines.createVirtualMachine({ ...ONCE, virtualMachine: machineOf(EVIL) }),
      admin.machines.createVirtualMachine({ ...ONCE, requestId: EVIL, virtualMachine: machineOf("good") }),
      admin.machines.createVirtualMachine({ ...ONCE, virtualMachine: { ...machineOf("noted"), metadata: ObjectMeta.create({ name: "noted", labels: { [EVIL]: EVIL } }) } }),
      admin.machines.createVirtualMachine({ ...ONCE, virtualMachine: { ...machineOf("annotated"), metadata: ObjectMeta.create({ name: "annotated", annotations: { note: "two\nlines" } }) } }),
      admin.machines.getVirtualMachine({ namespace: EVIL, name: EVIL }),
      admin.machines.startVirtualMachine({ ...ONCE, namespace: EVIL, name: EVIL }),
      admin.nodes.createNodeToken({ ...ONCE, name: EVIL, ttlSeconds: 0 }),
      admin.nodes.cordonNode({ ...ONCE, name: EVIL }),
      admin.auth.createServiceToken({ ...ONCE, name: EVIL, role: EVIL, namespaces: [EVIL], ttlSeconds: 0 }),
      admin.auth.checkAccess({ verb: "get", kind: "VirtualMachine", namespace: EVIL, name: EVIL }),
      admin.machines.listVirtualMachines({ namespace: "", pageSize: 0, pageToken: EVIL, labelSelector: EVIL, fieldSelector: EVIL }),
      admin.events.createEvent({ ...ONCE, event: Event.create({ regarding: { kind: "Node", name: "liar" }, reason: EVIL, message: EVIL, source: EVIL, type: EventType.WARNING }) }),
    ];
    const raw = new Client(addresses.public, credentials.createSsl(readFileSync(ca)));
    attempts.push(new Promise((resolve) => {
      const metadata = new GrpcMetadata();
      metadata.set("user-agent", "x\tforged");
      raw.makeUnaryRequest(`/drover.v1.${encodeURIComponent(EVIL)}/Get`, (sent: Buffer) => sent, (got) => got, Buffer.alloc(0), metadata, () => resolve(undefined));
    }));
    await Promise.all(attempts.map((attempt) => attempt.catch(() => undefined)));
    raw.close();
  }

  it("is one line of the log for each thing that happened, every one of them the server's own", () => {
    const lines = server.log().split("\n").filter((line) => line !== "");
    assert.ok(lines.length > 20);
    for (const line of lines) {
      const entry = JSON.parse(line) as { program?: string; msg?: string };
      assert.equal(entry.program, "drover-api-server", line);
      assert.notEqual(entry.msg, "forged");
      assert.equal(unsafeIn(line, ""), "", line);
    }
    assert.ok(lines.some((line) => line.includes("forged")), "it was logged, and as a value");
  });

  it("is one line of the audit, too", async () => {
    const { auditEntries } = await server.admin.audit.listAuditEntries({ filter: undefined, pageSize: 500, pageToken: "" });
    assert.ok(auditEntries.some(({ line }) => line.includes("forged")));
    for (const { line, seq } of auditEntries) {
      assert.equal((JSON.parse(line) as { seq: number }).seq, seq);
      assert.equal(unsafeIn(line, ""), "", line);
      assert.equal(line.includes("\n"), false);
    }
  });

  it("does nothing to the terminal of who looks at it, in whatever form", async () => {
    const commands = [["get", "nodes", "-o", "wide"], ["get", "nodes", "-o", "json"], ["get", "nodes", "-o", "yaml"], ["describe", "node", "liar"], ["events"], ["get", "vmi", "-o", "yaml"], ["get", "vm", EVIL]];
    for (const [index, { out, errors }] of (await Promise.all(commands.map((args) => server.drover(args)))).entries()) {
      assert.notEqual(out + errors, "");
      assert.equal(unsafeIn(out + errors), "", commands[index]!.join(" "));
    }
  });
});
