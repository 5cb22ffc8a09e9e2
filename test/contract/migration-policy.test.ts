/** Migration policies by the API: made, read, watched, changed, deleted; what is refused of them; and who may. */
import assert from "node:assert/strict";
import { MigrationPolicy } from "../../gen/drover/v1/migration_policy.ts";
import type { MigrationPolicySpec } from "../../gen/drover/v1/migration_policy.ts";
import { VirtualMachineInstanceMigration } from "../../gen/drover/v1/migration.ts";
import { MigrationTimeoutAction } from "../../gen/drover/v1/virtual_machine_instance.ts";
import type { MigrationSettings } from "../../gen/drover/v1/virtual_machine_instance.ts";
import { parseManifests } from "../../lib/manifest/parse.ts";
import { renderManifest } from "../../lib/manifest/render.ts";
import { assertInvalid, EVERYTHING, ONCE, refusal, startServer } from "./api-process.ts";
import type { Server } from "./api-process.ts";

const SELECTORS = { virtualMachineInstanceSelector: { app: "db" }, namespaceSelector: {} };
const UNKNOWN = 99 as never;

const policy = (spec: Partial<MigrationPolicySpec> = {}, name = "databases") =>
  MigrationPolicy.create({ metadata: { name }, spec: { selectors: SELECTORS, ...spec } });

describe("migration policies by the API", function () {
  this.timeout(60_000);
  let server: Server;
  before(async () => {
    server = await startServer();
  });
  after(() => server?.[Symbol.asyncDispose]());

  const create = (migrationPolicy: MigrationPolicy | undefined) => server.user.policies.createMigrationPolicy({ migrationPolicy, ...ONCE });

  const invalid: [what: string, spec: Partial<MigrationPolicySpec>, faults: Record<string, RegExp>][] = [
    ["no selectors", { selectors: undefined }, { "spec.selectors": /required/ }],
    ["selectors that name nothing", { selectors: { virtualMachineInstanceSelector: {}, namespaceSelector: {} } }, { "spec.selectors": /at least one label/ }],
    ["selectors that no label can fit", { selectors: { virtualMachineInstanceSelector: { "-a": "b" }, namespaceSelector: { a: "b c" } } }, {
      'spec.selectors.virtual_machine_instance_selector["-a"]': /1 to 63 characters/, 'spec.selectors.namespace_selector["a"]': /at most 63 characters/,
    }],
    ...["", "64", "217Ki", "-1Mi", "2Ti", "1.5Mi", "fast"].map((bandwidthPerMigration): [string, Partial<MigrationPolicySpec>, Record<string, RegExp>] =>
      [`a bandwidth of "${bandwidthPerMigration}"`, { bandwidthPerMigration }, { "spec.bandwidth_per_migration": /from 0 to 1Ti that is a multiple of 1048576 bytes/ }]),
    ["numbers beyond their bounds", {
      completionTimeoutPerGib: 86_401, progressTimeoutSeconds: 86_401, maxDowntimeMs: 2_000_001, downtimeSteps: 101, parallelConnections: 256,
    }, {
      "spec.completion_timeout_per_gib": /86400/, "spec.progress_timeout_seconds": /86400/, "spec.max_downtime_ms": /2000000/,
      "spec.downtime_steps": /100/, "spec.parallel_connections": /255/,
    }],
    ["zeros where something is needed", { maxDowntimeMs: 0, downtimeSteps: 0 }, { "spec.max_downtime_ms": /1/, "spec.downtime_steps": /1/ }],
    ["an action of a newer version", { timeoutAction: UNKNOWN }, { "spec.timeout_action": /defined/ }],
    ["no action", { timeoutAction: MigrationTimeoutAction.UNSPECIFIED }, { "spec.timeout_action": /not be in list|0/ }],
    ["post-copy over several connections", { allowPostCopy: true, parallelConnections: 2 }, { "spec.parallel_connections": /must be 0 with allow_post_copy/ }],
    ["post-copy on timeout, which is not allowed", { allowPostCopy: false, timeoutAction: MigrationTimeoutAction.POST_COPY }, { "spec.timeout_action": /allow_post_copy is false/ }],
    ["a pause on timeout, which is not allowed", { allowWorkloadDisruption: false, timeoutAction: MigrationTimeoutAction.PAUSE }, { "spec.timeout_action": /allow_workload_disruption is false/ }],
  ];
  const at = (prefix: string, faults: Record<string, RegExp>) => Object.fromEntries(Object.entries(faults).map(([path, words]) => [`${prefix}${path}`, words]));
  for (const [what, spec, faults] of invalid) {
    it(`refuses ${what}`, () => assertInvalid(server, () => create(policy(spec)), at("migration_policy.", faults)));
  }

  it("refuses none, a bad name, a namespace", async () => {
    await assertInvalid(server, () => create(undefined), { migration_policy: /required/ });
    await assertInvalid(server, () => create(policy({}, "Not a name")), { "migration_policy.metadata.name": /1 to 63 characters/ });
    const placed = policy();
    placed.metadata!.namespace = "default";
    await assertInvalid(server, () => create(placed), { "migration_policy.metadata.namespace": /must be empty/ });
  });

  it("keeps what was left out apart from what was set to nothing, through every call", async () => {
    const { policies } = server.user;
    const made = (await create(policy({ bandwidthPerMigration: "0", allowPostCopy: false }))).migrationPolicy!;
    assert.deepEqual([made.spec?.bandwidthPerMigration, made.spec?.allowPostCopy, made.spec?.allowAutoConverge], ["0", false, undefined]);
    assert.equal((await refusal(create(policy()))).code, "ALREADY_EXISTS");
    assert.deepEqual((await policies.getMigrationPolicy({ name: "databases" })).migrationPolicy, made);
    assert.deepEqual((await policies.listMigrationPolicies(EVERYTHING)).migrationPolicies, [made]);

    const changed = (await policies.updateMigrationPolicy({
      ...ONCE, migrationPolicy: { ...made, spec: { ...made.spec!, maxDowntimeMs: 50 } }, updateMask: ["spec.max_downtime_ms"],
    })).migrationPolicy!;
    assert.deepEqual([changed.spec?.maxDowntimeMs, changed.metadata?.generation], [50, 2]);
    const stale = policies.updateMigrationPolicy({ ...ONCE, migrationPolicy: { ...made, spec: { ...made.spec!, maxDowntimeMs: 60 } }, updateMask: undefined });
    assert.equal((await refusal(stale)).code, "ABORTED");

    const stop = new AbortController();
    const told: string[] = [];
    for await (const { event } of policies.watchMigrationPolicies({ ...EVERYTHING, fromRevision: "" }, { signal: stop.signal })) {
      told.push(event?.$case ?? "");
      if (event?.$case === "bookmark") await policies.deleteMigrationPolicy({ ...ONCE, name: "databases", uid: "", resourceVersion: "" });
      if (event?.$case === "deleted") break;
    }
    stop.abort();
    assert.deepEqual([told[0], told.at(-1)], ["added", "deleted"]);
    assert.equal((await refusal(policies.getMigrationPolicy({ name: "databases" }))).code, "NOT_FOUND");
  });

  it("refuses the same of a migration's own settings, and what is said twice", async () => {
    const migration = (settings: Partial<MigrationSettings>, old: { bandwidthMibPerSecond?: number; autoConverge?: boolean } = {}) =>
      server.user.migrations.createVirtualMachineInstanceMigration({
        ...ONCE,
        migration: VirtualMachineInstanceMigration.create({
          metadata: { name: "m" },
          spec: { vmiName: "web", targetNode: "", addedNodeSelector: {}, bandwidthMibPerSecond: 0, autoConverge: false, settings, ...old },
        }),
      });
    const path = "migration.spec.settings";
    await assertInvalid(server, () => migration({ bandwidthPerMigration: "1Ki" }), { [`${path}.bandwidth_per_migration`]: /multiple of 1048576/ });
    await assertInvalid(server, () => migration({ allowPostCopy: true, parallelConnections: 4 }), { [`${path}.parallel_connections`]: /allow_post_copy/ });
    await assertInvalid(server, () => migration({ bandwidthPerMigration: "1Mi", allowAutoConverge: false }, { bandwidthMibPerSecond: 1, autoConverge: true }), {
      "migration.spec.bandwidth_mib_per_second": /left out where settings.bandwidth_per_migration/, "migration.spec.auto_converge": /left out where settings.allow_auto_converge/,
    });
  });
});

describe("a manifest of a migration policy", () => {
  const MANIFEST = `apiVersion: migrations.kubevirt.io/v1alpha1
kind: MigrationPolicy
metadata: {name: databases}
spec:
  allowAutoConverge: true
  bandwidthPerMigration: 64Mi
  completionTimeoutPerGiB: 120
  allowPostCopy: false
  selectors:
    namespaceSelector: {team: red}
    virtualMachineInstanceSelector: {app: db}
`;

  it("is taken in KubeVirt's words and given back in Drover's", () => {
    const [read] = parseManifests(MANIFEST, "policy.yaml");
    const { spec } = MigrationPolicy.decode(read!.bytes);
    assert.deepEqual(
      [spec?.allowAutoConverge, spec?.bandwidthPerMigration, spec?.completionTimeoutPerGib, spec?.allowPostCopy, spec?.maxDowntimeMs],
      [true, "64Mi", 120, false, undefined],
    );
    const rendered = renderManifest("MigrationPolicy", read!.bytes);
    assert.equal(rendered["apiVersion"], "drover.dev/v1");
    assert.deepEqual(parseManifests(JSON.stringify(rendered), "again.yaml")[0]!.bytes, read!.bytes);
  });

  it("is refused where KubeVirt has a field that Drover has not", () => {
    assert.throws(() => parseManifests(`${MANIFEST}  allowUnsafe: true\n`, "policy.yaml"), /allowUnsafe/);
  });
});
