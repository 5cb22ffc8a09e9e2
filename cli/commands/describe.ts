/** `describe`: one object with all that is known of it: its fields, its conditions as a table, its events. */
import type { Condition } from "../../gen/drover/v1/meta.ts";
import { ConditionStatus } from "../../gen/drover/v1/meta.ts";
import type { Event } from "../../gen/drover/v1/event.ts";
import { command } from "../command.ts";
import { UsageError } from "../failure.ts";
import { byTime, events } from "../kinds/event.ts";
import { age, word } from "../kinds/kind.ts";
import type { Kind, Resource } from "../kinds/kind.ts";
import { targets } from "../kinds/names.ts";
import { ObjectClient } from "../objects.ts";
import { printObject, yamlText } from "../print.ts";
import type { Session } from "../session.ts";
import { tableLines } from "../table.ts";

export const describe = command({
  path: ["describe"],
  summary: "Show one object with its conditions and events",
  args: ["<kind>", "[name]"],
  flags: {},
  async run({ args, session }) {
    const { kind, names } = await targets(args);
    if (names.length !== 1) throw new UsageError("one NAME is required");
    const name = names[0]!;
    const object = await new ObjectClient(kind, session).get({ namespace: kind.namespaced ? session.namespace : "", name });
    if (session.out.format === "json" || session.out.format === "yaml") return printObject(session.out, kind, object);
    const happened = await eventsOf(session, kind, object);
    return session.out.lines(await description(kind, object, { happened, now: session.clock.now() }));
  },
});

async function eventsOf(session: Session, { kind, namespaced }: Kind, { metadata }: Resource): Promise<Event[]> {
  const found = await new ObjectClient(events, session).list({
    namespace: namespaced ? (metadata?.namespace ?? "") : "",
    fieldSelector: `regarding.kind=${kind},regarding.name=${metadata?.name ?? ""}`,
  });
  // Another object may have had the name before; an event that names no uid is about whatever has it.
  return found.filter(({ regarding }) => regarding?.uid === "" || regarding?.uid === metadata?.uid).sort(byTime);
}

type Around = { happened: Event[]; now: Date };

async function description(kind: Kind, object: Resource, { happened, now }: Around): Promise<string[]> {
  const { renderManifest } = await import("../../lib/manifest/render.ts");
  const { apiVersion: _, status, ...manifest } = renderManifest(kind.kind, kind.codec.encode(object).finish());
  const hidden = ["conditions", ...(kind.told?.fields ?? [])];
  const rest = Object.fromEntries(Object.entries((status ?? {}) as Record<string, unknown>).filter(([field]) => !hidden.includes(field)));
  const text = await yamlText({ ...manifest, ...(Object.keys(rest).length > 0 && { status: rest }) });
  const conditions = (object as { status?: { conditions?: Condition[] } }).status?.conditions ?? [];
  return [...text.trimEnd().split("\n"), ...(kind.told?.lines(object) ?? []), ...conditionLines(conditions, now), ...eventLines(happened, now)];
}

function conditionLines(conditions: Condition[], now: Date): string[] {
  if (conditions.length === 0) return [];
  const rows = conditions.map(({ type, status, reason, message, lastTransitionTime }) =>
    [type, word(ConditionStatus, status), age(lastTransitionTime, now), reason, message]);
  return ["conditions:", ...tableLines(["TYPE", "STATUS", "SINCE", "REASON", "MESSAGE"], rows).map((line) => `  ${line}`)];
}

function eventLines(happened: Event[], now: Date): string[] {
  if (happened.length === 0) return ["events: none"];
  const columns = events.columns.filter(({ title, wide }) => title !== "OBJECT" && !wide);
  const rows = happened.map((event) => columns.map((column) => column.cell(event, now)));
  return ["events:", ...tableLines(columns.map(({ title }) => title), rows).map((line) => `  ${line}`)];
}
