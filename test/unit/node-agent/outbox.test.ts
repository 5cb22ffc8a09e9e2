/** Reports on their way: the latest level wins, events are kept in order and over a restart, and losses are counted. */
import assert from "node:assert/strict";
import { appendFileSync, mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { NodeReport } from "../../../gen/drover/v1/node.ts";
import { Event, EventType, ObjectReference } from "../../../gen/drover/v1/event.ts";
import { systemClock } from "../../../lib/clock.ts";
import { silentLog } from "../../../lib/log.ts";
import { systemRandom } from "../../../lib/random.ts";
import { fileJournal } from "../../../node-agent/event-journal.ts";
import { EVENTS_LIMIT, NODE, Outbox } from "../../../node-agent/outbox.ts";
import { FakeControlPlane, until } from "./fixture.ts";

const event = (message: string) =>
  Event.create({ regarding: ObjectReference.create({ kind: "Node", name: "a" }), reason: "Seen", message, type: EventType.NORMAL });
const messages = ({ reports }: FakeControlPlane) => reports.flatMap(({ part }) => (part?.$case === "event" ? [part.value.message] : []));

describe("the outbox", () => {
  let directory: string;
  const boxes: Outbox[] = [];
  beforeEach(() => (directory = mkdtempSync(join(tmpdir(), "drover-outbox-"))));
  afterEach(() => {
    for (const box of boxes.splice(0)) box.close();
    rmSync(directory, { recursive: true });
  });

  function outbox(controlPlane: FakeControlPlane): Outbox {
    const journal = fileJournal(join(directory, "events.journal"));
    const box = new Outbox({ controlPlane, journal, agentInstance: systemRandom.uuid(), nodeName: () => "a", clock: systemClock, random: systemRandom, log: silentLog });
    boxes.push(box);
    return box;
  }

  it("sends only the latest of a level", async () => {
    const controlPlane = new FakeControlPlane();
    controlPlane.down = true;
    const box = outbox(controlPlane);
    for (const cpus of [1, 2, 3]) box.submit(NODE, { $case: "node", value: NodeReport.create({ cpus }) });
    controlPlane.down = false;
    await until(() => controlPlane.reports.length > 0);
    assert.deepEqual(controlPlane.reports.map(({ part }) => part?.$case === "node" && part.value.cpus), [3]);
  });

  it("tells who reported when the record refuses it, and does not repeat it", async () => {
    const controlPlane = new FakeControlPlane();
    controlPlane.refuse = "STALE_EPOCH";
    const reasons: string[] = [];
    const box = outbox(controlPlane);
    box.submit(NODE, { $case: "node", value: NodeReport.create() }, ({ reason }) => reasons.push(reason));
    await until(() => reasons.length > 0);
    controlPlane.refuse = undefined;
    box.retryNow();
    assert.deepEqual([reasons, controlPlane.reports.length], [["STALE_EPOCH"], 0]);
  });

  it("keeps events over a restart, in order, as its own words", async () => {
    const away = new FakeControlPlane();
    away.down = true;
    const box = outbox(away);
    for (const message of ["one", "two", "three"]) box.record(NODE, event(message));
    box.close();
    appendFileSync(join(directory, "events.journal"), "c2hvcnQ");
    const back = new FakeControlPlane();
    outbox(back).retryNow();
    await until(() => messages(back).length === 3);
    assert.deepEqual(messages(back), ["one", "two", "three"]);
    assert.deepEqual(back.reports.map(({ seq }) => seq), [1, 2, 3]);
  });

  it("counts what did not fit", async () => {
    const controlPlane = new FakeControlPlane();
    controlPlane.down = true;
    const box = outbox(controlPlane);
    for (let i = 0; i < EVENTS_LIMIT + 7; i += 1) box.record(NODE, event(String(i)));
    controlPlane.down = false;
    box.retryNow();
    await until(() => controlPlane.reports.length === EVENTS_LIMIT + 1, "every event and the loss");
    assert.match(messages(controlPlane).at(-1) ?? "", /^7 events/);
  }).timeout(30_000);
});
