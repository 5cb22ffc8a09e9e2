/** The fleet's defaults for migrations, as the controller's file gives them. */
import assert from "node:assert/strict";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { stringify } from "yaml";
import { MigrationTimeoutAction } from "../../../gen/drover/v1/virtual_machine_instance.ts";
import { readConfig } from "../../../controller/config.ts";
import { MIGRATION_DEFAULTS } from "../../../lib/migration-policy.ts";

describe("the controller's defaults for migrations", () => {
  let directory: string;
  before(() => {
    directory = mkdtempSync(join(tmpdir(), "drover-controller-config-"));
  });
  after(() => rmSync(directory, { recursive: true }));

  function read(defaults?: Record<string, unknown>) {
    const file = join(directory, "controller.yaml");
    writeFileSync(file, stringify({ server: "unix:///run/api.sock", ...(defaults && { migrations: { defaults } }) }));
    return readConfig(["--config", file]).migrations.defaults;
  }

  it("are the documented ones where the file says nothing", () => assert.deepEqual(read(), MIGRATION_DEFAULTS));

  it("take what the file says, in KubeVirt's words", () => {
    const given = { bandwidthPerMigration: "64Mi", completionTimeoutPerGiB: 60, allowWorkloadDisruption: true, timeoutAction: "Pause" };
    assert.deepEqual(read(given), {
      ...MIGRATION_DEFAULTS, bandwidthPerMigration: "64Mi", completionTimeoutPerGib: 60, allowWorkloadDisruption: true, timeoutAction: MigrationTimeoutAction.PAUSE,
    });
  });

  const refused: [Record<string, unknown>, RegExp][] = [
    [{ bandwidthPerMigration: "64Ki" }, /defaults\.bandwidthPerMigration: must be a whole number of MiB/],
    [{ bandwidthPerMigration: "fast" }, /defaults\.bandwidthPerMigration/],
    [{ maxDowntimeMs: 0 }, /defaults\.maxDowntimeMs/],
    [{ timeoutAction: "Give up" }, /defaults\.timeoutAction/],
    [{ allowUnsafe: true }, /allowUnsafe/],
  ];
  for (const [given, words] of refused) it(`refuse ${JSON.stringify(given)}`, () => assert.throws(() => read(given), words));
});
