/** Which policy a migration gets, and what comes of it. */
import assert from "node:assert/strict";
import { MigrationPolicy } from "../../../gen/drover/v1/migration_policy.ts";
import type { MigrationPolicySpec } from "../../../gen/drover/v1/migration_policy.ts";
import { MigrationTimeoutAction } from "../../../gen/drover/v1/virtual_machine_instance.ts";
import type { MigrationSettings } from "../../../gen/drover/v1/virtual_machine_instance.ts";
import { bestMatch, MIGRATION_DEFAULTS, resolvePolicy } from "../../../lib/migration-policy.ts";
import type { PolicyQuestion } from "../../../lib/migration-policy.ts";

type Labels = Record<string, string>;
const GIB = 2 ** 30;
const { ABORT, PAUSE, POST_COPY } = MigrationTimeoutAction;

const policy = (name: string, selectors: { vmi?: Labels; namespace?: Labels }, settings: MigrationSettings = {}): MigrationPolicy =>
  MigrationPolicy.create({
    metadata: { name },
    spec: { ...settings, selectors: { virtualMachineInstanceSelector: selectors.vmi ?? {}, namespaceSelector: selectors.namespace ?? {} } } satisfies MigrationPolicySpec,
  });

const ask = (question: Partial<Omit<PolicyQuestion, "spec">> & { spec?: Partial<PolicyQuestion["spec"]> }) =>
  resolvePolicy({
    policies: [], namespaceLabels: {}, instanceLabels: {}, bytes: GIB, ...question,
    spec: { settings: undefined, bandwidthMibPerSecond: 0, autoConverge: false, ...question.spec },
  });

describe("the policy of a migration", () => {
  const labels = { instanceLabels: { app: "db", tier: "gold" }, namespaceLabels: { team: "red" } };
  const cases: [what: string, policies: MigrationPolicy[], expected: string | undefined][] = [
    ["no policy at all", [], undefined],
    ["one whose label has another value", [policy("p", { vmi: { app: "web" } })], undefined],
    ["one that names a label besides which the machine lacks", [policy("p", { vmi: { app: "db", zone: "a" } })], undefined],
    ["one of another namespace", [policy("p", { vmi: { app: "db" }, namespace: { team: "blue" } })], undefined],
    ["one that names nothing", [policy("p", {})], undefined],
    ["one that fits", [policy("p", { vmi: { app: "db" } })], "p"],
    ["the one with most labels", [policy("a", { vmi: { app: "db" } }), policy("b", { vmi: { app: "db", tier: "gold" } })], "b"],
    ["most labels of both together", [policy("a", { vmi: { app: "db" } }), policy("b", { vmi: { app: "db" }, namespace: { team: "red" } })], "b"],
    ["more of the machine's among equals", [policy("a", { namespace: { team: "red" } }), policy("b", { vmi: { app: "db" } })], "b"],
    ["the first by name among equals", [policy("b", { vmi: { app: "db" } }), policy("a", { vmi: { tier: "gold" } })], "a"],
  ];
  for (const [what, policies, expected] of cases) {
    it(`is right for ${what}`, () => {
      assert.equal(bestMatch(policies, labels)?.policy.metadata?.name, expected);
      assert.equal(bestMatch(policies.toReversed(), labels)?.policy.metadata?.name, expected);
    });
  }

  it("is none that is being deleted", () => {
    const leaving = policy("p", { vmi: { app: "db" } });
    leaving.metadata!.deletionTimestamp = new Date(0);
    assert.equal(bestMatch([leaving], labels), undefined);
  });

  it("never matches by what every object inherits", () => {
    assert.equal(bestMatch([policy("p", { vmi: { constructor: "" } })], labels), undefined);
  });
});

describe("the resolved options", () => {
  const fits = { instanceLabels: { app: "db" } };

  it("are the defaults without anything else, and say so", () => {
    const { policyName, options, why } = ask({});
    assert.equal(policyName, "");
    assert.match(why, /there are no policies: the fleet's defaults/);
    assert.equal(options.completionTimeoutSeconds, MIGRATION_DEFAULTS.completionTimeoutPerGib);
    assert.deepEqual([options.bandwidthMibPerSecond, options.autoConverge, options.postCopy, options.maxDowntimeMs, options.timeoutAction], [0, false, false, 900, ABORT]);
  });

  it("take the migration's own word over the policy's, and the policy's over the fleet's", () => {
    const policies = [policy("p", { vmi: { app: "db" } }, { bandwidthPerMigration: "64Mi", maxDowntimeMs: 50 })];
    const defaults = { ...MIGRATION_DEFAULTS, maxDowntimeMs: 10, progressTimeoutSeconds: 7 };
    const { options, why } = ask({ ...fits, policies, defaults, spec: { settings: { bandwidthPerMigration: "0" } } });
    assert.deepEqual([options.bandwidthMibPerSecond, options.maxDowntimeMs, options.progressTimeoutSeconds], [0, 50, 7]);
    assert.match(why, /policy "p" names most labels: 1 of the machine, 0 of its namespace; the migration itself sets bandwidthPerMigration/);
  });

  it("heed the two fields that are older than the settings", () => {
    const policies = [policy("p", { vmi: { app: "db" } }, { bandwidthPerMigration: "64Mi", allowAutoConverge: false })];
    const { options } = ask({ ...fits, policies, spec: { bandwidthMibPerSecond: 3, autoConverge: true } });
    assert.deepEqual([options.bandwidthMibPerSecond, options.autoConverge], [3, true]);
  });

  const actions: [MigrationSettings, MigrationTimeoutAction][] = [
    [{}, ABORT],
    [{ allowPostCopy: true }, POST_COPY],
    [{ allowWorkloadDisruption: true }, PAUSE],
    [{ allowPostCopy: true, allowWorkloadDisruption: false }, POST_COPY],
    [{ allowPostCopy: true, timeoutAction: ABORT }, ABORT],
    [{ timeoutAction: PAUSE }, PAUSE],
    [{ timeoutAction: POST_COPY }, ABORT],
    [{ timeoutAction: POST_COPY, allowWorkloadDisruption: true }, PAUSE],
    [{ timeoutAction: PAUSE, allowWorkloadDisruption: false }, ABORT],
  ];
  for (const [settings, expected] of actions) {
    it(`act on a timeout by ${JSON.stringify(settings)}`, () => assert.equal(ask({ spec: { settings } }).options.timeoutAction, expected));
  }

  it("never combine post-copy with parallel connections, and say which gave way", () => {
    const policies = [policy("p", { vmi: { app: "db" } }, { parallelConnections: 4 })];
    const { options, why } = ask({ ...fits, policies, spec: { settings: { allowPostCopy: true } } });
    assert.deepEqual([options.postCopy, options.parallelConnections], [true, 0]);
    assert.match(why, /one connection/);
  });

  const limits: [bytes: number, perGib: number, forecastMs: number | undefined, seconds: number][] = [
    [GIB, 150, undefined, 150], [1, 150, undefined, 150], [GIB + 1, 150, undefined, 300], [64 * GIB, 150, undefined, 9_600],
    [GIB, 0, undefined, 0], [GIB, 0, 90_000, 0], [GIB, 150, 74_000, 150], [GIB, 150, 90_000, 180],
  ];
  for (const [bytes, completionTimeoutPerGib, forecastMs, seconds] of limits) {
    it(`limit ${bytes} bytes at ${completionTimeoutPerGib} s a GiB, forecast ${forecastMs}, to ${seconds} s`, () => {
      assert.equal(ask({ bytes, forecastMs, defaults: { ...MIGRATION_DEFAULTS, completionTimeoutPerGib } }).options.completionTimeoutSeconds, seconds);
    });
  }

  it("leave a limit as it is that one migration sets for itself, whatever is forecast", () => {
    assert.equal(ask({ forecastMs: 90_000, spec: { settings: { completionTimeoutPerGib: 15 } } }).options.completionTimeoutSeconds, 15);
  });
});
