/** T23: whoever did something and wants nobody to know it, even with the store's file in hand; and whoever says that he did not. */
import assert from "node:assert/strict";
import { cpSync } from "node:fs";
import { join } from "node:path";
import { DatabaseSync } from "node:sqlite";
import { Status } from "nice-grpc";
import type { ClientError } from "nice-grpc";
import { AuditDecision } from "../../gen/drover/v1/audit.ts";
import type { AuditEntry } from "../../gen/drover/v1/audit.ts";
import { AUDIT_ROWS } from "../../api-server/audit/classes.ts";
import { verifyAudit } from "../../api-server/audit/verify.ts";
import { openStore } from "../../api-server/store/open.ts";
import { systemClock } from "../../lib/clock.ts";
import { systemRandom } from "../../lib/random.ts";
import { ONCE } from "../contract/auth-server.ts";
import { methods, pathOf } from "./descriptors.ts";
import { machineOf, startInstalled } from "./server.ts";
import type { Clients, Installed } from "./server.ts";

const PLACE = { namespace: "default", name: "web" };

describe("T23: a tampered audit", function () {
  this.timeout(60_000);
  let server: Installed;
  let mallory: Clients;
  before(async () => {
    server = await startInstalled();
    await server.bind("mallory", "operator", ["default"]);
    mallory = await server.as("mallory");
    await mallory.machines.createVirtualMachine({ ...ONCE, requestId: "made-by-mallory", virtualMachine: machineOf("web") });
    await mallory.machines.startVirtualMachine({ ...PLACE, ...ONCE });
    await mallory.nodes.cordonNode({ ...ONCE, name: "a" }).catch(() => undefined);
    await mallory.machines.startVirtualMachine({ ...PLACE, ...ONCE, name: "missing" }).catch(() => undefined);
    await mallory.machines.deleteVirtualMachine({ ...PLACE, ...ONCE, uid: "", resourceVersion: "" });
  });
  after(() => server?.[Symbol.asyncDispose]());

  const entries = async (subject = "user/mallory") =>
    (await server.admin.audit.listAuditEntries({ filter: filterOf(subject), pageSize: 500, pageToken: "" })).auditEntries.reverse();
  const verified = () => server.admin.audit.verifyAudit({ noted: undefined });
  const DECISIONS: Partial<Record<AuditDecision, string>> = { [AuditDecision.ALLOWED]: "ALLOWED", [AuditDecision.DENIED]: "DENIED", [AuditDecision.FAILED]: "FAILED" };
  const brief = ({ rpc, decision, code }: AuditEntry) => `${rpc.split("/").at(-1)} ${DECISIONS[decision]} ${code}`;

  it("has a class for every call that there is, and none for others", () => {
    assert.deepEqual([...AUDIT_ROWS.keys()].sort(), methods.map(pathOf).sort());
  });

  it("says of everything that somebody did or was refused who it was, from where, and what came of it", async () => {
    const all = await entries();
    // What was refused is written behind its answer, and so perhaps behind what came next.
    assert.deepEqual(all.map(brief).sort(), [
      "CordonNode DENIED PERMISSION_DENIED", "CreateVirtualMachine ALLOWED OK", "DeleteVirtualMachine ALLOWED OK", "StartVirtualMachine ALLOWED OK", "StartVirtualMachine FAILED NOT_FOUND",
    ]);
    const [created, started] = all.filter(({ decision }) => decision === AuditDecision.ALLOWED);
    assert.deepEqual([created!.requestId, created!.objectKind, created!.objectNamespace, created!.objectName, created!.beforeRevision], ["made-by-mallory", "VirtualMachine", "default", "web", ""]);
    assert.match(created!.source, /^(\[?::ffff:)?127\.0\.0\.1/);
    assert.deepEqual([started!.beforeRevision, started!.objectUid], [created!.afterRevision, created!.objectUid]);
    assert.equal((await verified()).intact, true);
  });

  it("is nobody's to write: there is no call that changes or removes an entry, and only who may read it does", async () => {
    const writing = methods.filter(({ parent, name }) => parent.typeName === "drover.v1.AuditService" && !/^(List|Export|Verify)/.test(name));
    assert.deepEqual(writing.map(pathOf), []);
    const answer = mallory.audit.listAuditEntries({ filter: undefined, pageSize: 0, pageToken: "" });
    assert.equal(await answer.then(() => "OK", (error: ClientError) => Status[error.code]), "PERMISSION_DENIED");
  });

  const tampering: [string, (seq: number) => string][] = [
    ["an entry is removed", (seq) => `DELETE FROM audit WHERE seq = ${seq}`],
    ["an entry names somebody else", (seq) => `UPDATE audit SET line = replace(line, 'user/mallory', 'user/alice') WHERE seq = ${seq}`],
    ["an entry was allowed that was denied", () => `UPDATE audit SET line = replace(line, '"denied"', '"allowed"') WHERE line LIKE '%"denied"%'`],
    ["two entries change places", (seq) => `UPDATE audit SET line = (SELECT line FROM kept WHERE kept.seq = 2 * ${seq} + 1 - audit.seq) WHERE seq IN (${seq}, ${seq + 1})`],
    ["the newest entries are cut off", (seq) => `DELETE FROM audit WHERE seq > ${seq}`],
    ["the oldest entries are cut off", (seq) => `DELETE FROM audit WHERE seq < ${seq}`],
  ];
  it("does not fit what was noted of it elsewhere when it was made anew as a whole", async () => {
    const { head } = await verified();
    assert.equal((await server.admin.audit.verifyAudit({ noted: head })).intact, true);
    const forged = { seq: head!.seq, hash: head!.hash.replace(/^./, (digit) => (digit === "0" ? "1" : "0")) };
    assert.equal((await server.admin.audit.verifyAudit({ noted: forged })).intact, false);
    assert.equal((await server.admin.audit.verifyAudit({ noted: { ...head!, seq: head!.seq + 1_000 } })).intact, false);
  });

  it("outlives the server's death with every change that was answered, and then does not hold wherever it is touched", async () => {
    const [{ seq }] = (await entries()) as [AuditEntry];
    await server.admin.machines.createVirtualMachine({ ...ONCE, virtualMachine: machineOf("last") });
    const stores = tampering.map((_, index) => join(server.directory, `tampered-${index}`, "drover.db"));
    await server.restart(() => {
      for (const [index, [, act]] of tampering.entries()) {
        cpSync(join(server.store, ".."), join(stores[index]!, ".."), { recursive: true });
        alter(stores[index]!, act(seq));
      }
    });
    const last = (await entries("local")).at(-1)!;
    assert.deepEqual([brief(last), last.objectName], ["CreateVirtualMachine ALLOWED OK", "last"]);
    assert.equal((await verified()).intact, true, "what nobody touched");
    const verdicts = await Promise.all(stores.map(verdictOn));
    for (const [index, { fault }] of verdicts.entries()) assert.ok(fault && fault.seq > 0 && fault.message !== "", tampering[index]![0]);
  });

  it("is said not to hold by the server that serves it", async () => {
    const [{ seq }] = (await entries()) as [AuditEntry];
    await server.restart(() => alter(server.store, `UPDATE audit SET line = replace(line, 'user/mallory', 'user/alice') WHERE seq = ${seq}`));
    const { intact, fault, faultSeq } = await verified();
    assert.deepEqual([intact, faultSeq], [false, seq + 1]);
    assert.match(fault, /was changed/);
  });
});

const filterOf = (subject: string) => ({ subject, rpc: "", objectKind: "", objectNamespace: "", objectName: "", fromTime: undefined, toTime: undefined, decisions: [] });

/** As somebody does it who has the file while no server has it open. */
function alter(path: string, sql: string): void {
  const database = new DatabaseSync(path);
  database.exec(`CREATE TEMP TABLE kept AS SELECT seq, line FROM audit; ${sql}`);
  database.close();
}

async function verdictOn(path: string) {
  await using store = await openStore(`sqlite:${path}`, { clock: systemClock, random: systemRandom, create: false, onFatal: (error) => assert.fail(error) });
  return await verifyAudit(store, { signal: new AbortController().signal });
}
