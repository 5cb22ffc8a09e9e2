/** The audit as a whole, by a real server: what is in it of what is done and refused, and who may read it. */
import assert from "node:assert/strict";
import { AuditDecision, AuditFilter, AuditServiceDefinition } from "../../gen/drover/v1/audit.ts";
import type { AuditEntry } from "../../gen/drover/v1/audit.ts";
import { RunStrategy, VirtualMachine } from "../../gen/drover/v1/virtual_machine.ts";
import { connect } from "../../lib/client.ts";
import type { Connection } from "../../lib/client.ts";
import { newRequest } from "../../lib/pki/keys.ts";
import { hashOf } from "../../api-server/store/audit.ts";
import { numberOf } from "../../api-server/store/revision.ts";
import type { Change } from "../../api-server/store/store.ts";
import { bearer, binding, EVERYTHING, ONCE, role, startAuthServer, user } from "./auth-server.ts";
import type { AuthServer } from "./auth-server.ts";
import { changesOf, watchUntil } from "./store-steps.ts";

const spec = { runStrategy: RunStrategy.MANUAL, template: { spec: { domain: { memory: { guest: "64Mi" } } } } };
const vm = (name: string, labels = {}) => VirtualMachine.create({ metadata: { name, labels }, spec });
const WEB = { namespace: "default", name: "web", ...ONCE };

describe("the audit", function () {
  this.timeout(60_000);
  let server: AuthServer;
  let local: Connection;
  beforeEach(async () => {
    server = await startAuthServer();
    local = connect({ server: `unix://${server.directory}/api.sock` });
  });
  afterEach(async () => {
    local?.[Symbol.dispose]();
    await server?.[Symbol.asyncDispose]();
  });

  const audit = () => local.client(AuditServiceDefinition);
  const entries = async (filter: Partial<AuditFilter> = {}) => {
    const { auditEntries } = await audit().listAuditEntries({ filter: { ...AuditFilter.create(), ...filter }, pageSize: 500, pageToken: "" });
    return auditEntries.reverse();
  };
  const calls = (found: readonly AuditEntry[]) => found.map(({ subject, rpc, code, reason }) => [subject, rpc.slice(rpc.lastIndexOf("/") + 1), code, reason].filter(Boolean).join(" "));
  const quietly = (attempt: Promise<unknown>) => attempt.then(() => assert.fail("was not refused"), () => undefined);

  it("has one entry for every change that a caller made, in the place of its commit", async () => {
    const { machines, nodes, spaces, roles, bindings, auth } = server.admin;
    const from = await server.store.head();
    const { virtualMachine } = await machines.createVirtualMachine({ ...ONCE, virtualMachine: vm("web") });
    const labelled = { ...virtualMachine!, metadata: { ...virtualMachine!.metadata!, labels: { a: "b" } } };
    await machines.updateVirtualMachine({ ...ONCE, virtualMachine: labelled, updateMask: ["metadata.labels"] });
    await machines.startVirtualMachine(WEB);
    await machines.stopVirtualMachine(WEB);
    await machines.deleteVirtualMachine({ ...WEB, uid: "", resourceVersion: "" });
    await nodes.createNodeToken({ name: "a", ttlSeconds: 0, ...ONCE });
    await nodes.cordonNode({ name: "a", ...ONCE });
    await nodes.revokeNode({ name: "a", ...ONCE });
    await spaces.createNamespace({ ...ONCE, namespace: { metadata: { ...virtualMachine!.metadata!, name: "team", namespace: "", uid: "", labels: {}, finalizers: [] } } as never });
    await roles.createRole({ ...ONCE, role: role("r", { verbs: ["get"], kinds: ["Node"] }) });
    await bindings.createRoleBinding({ ...ONCE, roleBinding: binding("b", { role: "r", subjects: [user("x")] }) });
    await auth.createServiceToken({ name: "ci", role: "viewer", namespaces: [], ttlSeconds: 0, ...ONCE });
    await auth.revokeServiceToken({ name: "ci", ...ONCE });
    const changes = changesOf(await watchUntil(server.store, "", { from, until: await server.store.head() })).filter(({ key }) => !key.startsWith("identifiers/"));
    const told = (await entries()).filter(({ afterRevision }) => afterRevision !== "");
    assert.equal(changes.length, 14);
    assert.deepEqual(told.map(placeOf), changes.map(({ key, revision }) => [key, revision]));
    assert.deepEqual(told.map(({ beforeRevision }) => beforeRevision), changes.map((change) => previousOf(changes, change)));
    assert.deepEqual(told[1]!.paths, ["metadata.labels"]);
    for (const { decision, role, source, subject, requestId, objectUid } of told) {
      assert.deepEqual([decision, role, source, subject, requestId !== "", objectUid !== ""], [AuditDecision.ALLOWED, "admin", "unix", "local", true, true]);
    }
  });

  it("has what was refused, with the reason and nothing of the request but the name", async () => {
    await server.admin.bindings.createRoleBinding({ ...ONCE, roleBinding: binding("v", { role: "viewer", subjects: [user("vera")] }) });
    const [vera, nobody] = [await server.as("vera"), await server.as("nobody")];
    await vera.machines.listVirtualMachines(EVERYTHING);
    await quietly(vera.machines.createVirtualMachine({ ...ONCE, virtualMachine: vm("web", { canary: "canary" }) }));
    await quietly(vera.nodes.createNodeToken({ name: "a", ttlSeconds: 0, ...ONCE }));
    await quietly(nobody.machines.getVirtualMachine(WEB));
    await quietly(server.stranger.machines.startVirtualMachine(WEB, bearer("dst1.none.canary")));
    await quietly(server.admin.machines.createVirtualMachine({ ...ONCE, virtualMachine: vm("Canary Name") }));
    await quietly(server.admin.machines.startVirtualMachine({ ...WEB, name: "none" }));
    await quietly(server.admin.machines.getVirtualMachine({ ...WEB, name: "none" }));
    await quietly(server.admin.nodes.confirmFenced({ name: "a", typedName: "b", reason: "canary", ...ONCE }));
    await quietly(server.admin.roles.deleteRole({ name: "viewer", uid: "", resourceVersion: "", ...ONCE }));
    const found = await entries({ decisions: [AuditDecision.DENIED, AuditDecision.FAILED] });
    assert.deepEqual(calls(found), [
      "user/vera CreateVirtualMachine PERMISSION_DENIED PERMISSION_DENIED",
      "user/vera CreateNodeToken PERMISSION_DENIED PERMISSION_DENIED",
      "user/nobody GetVirtualMachine PERMISSION_DENIED PERMISSION_DENIED",
      "anonymous StartVirtualMachine UNAUTHENTICATED UNAUTHENTICATED",
      "local CreateVirtualMachine INVALID_ARGUMENT INVALID_FIELDS",
      "local StartVirtualMachine NOT_FOUND NOT_FOUND",
      "local ConfirmFenced NOT_FOUND NOT_FOUND",
      "local DeleteRole FAILED_PRECONDITION BUILT_IN_ROLE",
    ]);
    assert.deepEqual(found.map(({ objectKind, objectNamespace, objectName }) => [objectKind, objectNamespace, objectName].join("/")).slice(0, 4), [
      "VirtualMachine/default/web", "Node//a", "VirtualMachine/default/web", "VirtualMachine/default/web",
    ]);
    assert.match(found[0]!.source, /^127\.0\.0\.1:\d+$/);
    assert.equal(JSON.stringify(found).includes("canary"), false);
  });

  it("has acts that change no record, and verbs that found nothing to do, and no trial", async () => {
    const { machines, auth } = server.admin;
    const { csrPem } = await newRequest();
    await auth.signUserCertificate({ csrPem, user: "alice", groups: [], ttlSeconds: 0 });
    await machines.createVirtualMachine({ ...ONCE, virtualMachine: vm("trial"), validateOnly: true });
    await machines.createVirtualMachine({ ...ONCE, virtualMachine: vm("web"), requestId: "once" });
    await machines.createVirtualMachine({ ...ONCE, virtualMachine: vm("web"), requestId: "once" });
    for await (const _ of audit().exportAuditEntries({ filter: undefined, afterSeq: 0 }));
    const found = await entries();
    assert.deepEqual(calls(found), ["local SignUserCertificate OK", "local CreateVirtualMachine OK", "local CreateVirtualMachine OK", "local ExportAuditEntries OK"]);
    assert.deepEqual([found[0]!.objectName, found[1]!.afterRevision !== "", found[2]!.afterRevision], ["alice", true, ""]);
  });

  it("is read by administrators alone, by filters and pages, and comes out as the lines that it is made of", async () => {
    await server.admin.bindings.createRoleBinding({ ...ONCE, roleBinding: binding("v", { role: "operator", subjects: [user("olga")] }) });
    const olga = server.connect(await server.certificate("olga")).client(AuditServiceDefinition);
    await quietly(olga.listAuditEntries({ filter: undefined, pageSize: 0, pageToken: "" }));
    await quietly(olga.verifyAudit({ noted: undefined }));
    await quietly((async () => { for await (const _ of olga.exportAuditEntries({ filter: undefined, afterSeq: 0 })); })());
    for (let i = 0; i < 25; i += 1) await server.admin.machines.createVirtualMachine({ ...ONCE, virtualMachine: vm(`vm-${i}`) });
    assert.equal((await entries({ subject: "user/olga" })).length, 3);
    assert.deepEqual((await entries({ objectKind: "VirtualMachine", objectNamespace: "default", objectName: "vm-7" })).map(({ objectName }) => objectName), ["vm-7"]);
    const pages: AuditEntry[] = [];
    for (let pageToken = ""; ; ) {
      const page = await audit().listAuditEntries({ filter: undefined, pageSize: 10, pageToken });
      pages.push(...page.auditEntries);
      pageToken = page.nextPageToken;
      if (pageToken === "") break;
    }
    assert.deepEqual(pages.map(({ seq }) => seq), Array.from({ length: 29 }, (_, i) => 29 - i));
    const lines: string[] = [];
    for await (const { auditEntries } of audit().exportAuditEntries({ filter: undefined, afterSeq: 0 })) lines.push(...auditEntries.map(({ line }) => line));
    assert.equal(lines.length, 29, "its own entry comes after");
    for (const [i, line] of lines.entries()) if (i > 0) assert.equal((JSON.parse(line) as { previous: string }).previous, hashOf(lines[i - 1]!));
    const { intact, head, entries: looked } = await audit().verifyAudit({ noted: { seq: 29, hash: hashOf(lines.at(-1)!) } });
    assert.deepEqual([intact, head?.seq, looked], [true, 30, 30]);
    assert.equal((await audit().verifyAudit({ noted: { seq: 3, hash: hashOf("x") } })).intact, false);
  });

  it("folds a flood of refusals into its number, and answers each at once", async () => {
    const nobody = await server.as("nobody");
    const floods = Array.from({ length: 400 }, (_, i) => quietly(nobody.machines.getVirtualMachine({ ...WEB, name: `vm-${i}` })));
    await Promise.all(floods);
    const written = await entries({ subject: "user/nobody" });
    assert.ok(written.length <= 30, `${written.length} entries`);
  });
});

const placeOf = ({ objectKind, objectNamespace, objectName, afterRevision }: AuditEntry) =>
  [`${objectKind.toLowerCase()}s${objectNamespace && `/${objectNamespace}`}/${objectName}`, afterRevision];

/** The revision that stood under the same key before. */
function previousOf(changes: readonly Change[], { key, revision }: Change): string {
  const number = (text: string) => numberOf(text, "test")!;
  return changes.findLast((each) => each.key === key && number(each.revision) < number(revision))?.revision ?? "";
}
