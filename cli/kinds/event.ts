/** Events, as tables show them. */
import { Event, EventServiceDefinition, EventType } from "../../gen/drover/v1/event.ts";
import { age, word } from "./kind.ts";
import type { Kind } from "./kind.ts";

export const events: Kind<Event> = {
  kind: "Event",
  namespaced: true,
  noun: "Event",
  nounPlural: "Events",
  field: "event",
  listField: "events",
  definition: EventServiceDefinition,
  codec: Event,
  columns: [
    { title: "LAST SEEN", cell: ({ lastTime }, now) => age(lastTime, now) },
    { title: "TYPE", cell: ({ type }) => word(EventType, type) },
    { title: "REASON", cell: ({ reason }) => reason },
    { title: "OBJECT", cell: ({ regarding }) => `${regarding?.kind.toLowerCase() ?? ""}/${regarding?.name ?? ""}` },
    { title: "COUNT", cell: ({ count }) => String(count) },
    { title: "SOURCE", cell: ({ source }) => source },
    { title: "MESSAGE", cell: ({ message }) => message },
    { title: "NAME", wide: true, cell: ({ metadata }) => metadata?.name ?? "" },
  ],
};

/** Oldest first, so that the latest stands where the eye is. */
export function byTime(a: Event, b: Event): number {
  return (a.lastTime?.getTime() ?? 0) - (b.lastTime?.getTime() ?? 0);
}
