import assert from "node:assert/strict";
import { CheckReason } from "../../../../gen/drover/v1/preflight.ts";
import type { Row } from "../../../../lib/preflight/finding.ts";
import { BLOCKERS, MACHINE } from "../../../../lib/preflight/machine.ts";
import { MEASURED } from "../../../../lib/preflight/measured.ts";
import { PRESENCE, REPORTED } from "../../../../lib/preflight/node.ts";
import { ASKED, ROOM } from "../../../../lib/preflight/room.ts";
import { TRUST } from "../../../../lib/preflight/trust.ts";

/** Given by a row that has another reason too, or by the forecast. */
const BESIDE: readonly CheckReason[] = [CheckReason.DOES_NOT_CONVERGE, CheckReason.DISKS_COPIED];

describe("the reasons of checks", () => {
  it("are each given by some check, and none is left over", () => {
    const rows = [PRESENCE, REPORTED, TRUST, ASKED, ROOM, MEASURED, MACHINE, BLOCKERS].flatMap((table): Pick<Row<never>, "reason">[] => Object.values(table));
    const given = new Set([...rows.map(({ reason }) => reason), ...BESIDE]);
    const all = Object.values(CheckReason).filter((reason) => reason > 0);
    assert.deepEqual([...given].toSorted((a, b) => a - b), all.toSorted((a, b) => a - b));
  });
});
