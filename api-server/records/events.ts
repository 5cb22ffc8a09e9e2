/** Recording events: a repeat of one reason on one object counts up the one that is there; each object keeps its latest. */
import { ObjectReference } from "../../gen/drover/v1/event.ts";
import type { Event } from "../../gen/drover/v1/event.ts";
import { ObjectMeta } from "../../gen/drover/v1/meta.ts";
import type { Clock } from "../../lib/clock.ts";
import { AlreadyExists, InvalidArgument } from "../../lib/errors.ts";
import { eventName, eventNamePrefix, events, NO_NAMESPACE } from "../kinds/event.ts";
import { keyOf, metaOf } from "../kinds/kind.ts";
import type { Call, Objects } from "../objects.ts";
import type { Store } from "../store/store.ts";

const EVENTS_PER_OBJECT_MAX = 200;

type Parts = { objects: Objects; store: Store; clock: Clock };

export async function recordEvent(parts: Parts, sent: Event | undefined, call: Call): Promise<Event> {
  if (!sent) throw new InvalidArgument([...(call.faults ?? []), { path: "event", message: "is required" }]);
  // One that is about nothing is refused with its other faults, when it is checked as a whole.
  const { regarding = ObjectReference.create(), reason } = sent;
  const name = eventName(regarding, reason);
  const namespace = regarding.namespace || NO_NAMESPACE;
  const now = parts.clock.now();
  const fold = (stored: Event): Event => ({
    ...stored,
    message: sent.message,
    type: sent.type,
    source: sent.source,
    count: stored.count + 1,
    lastTime: now,
  });
  const found = await parts.objects.find(events, { namespace, name });
  if (found) return parts.objects.change(events, { namespace, name }, fold, call);
  const first = { ...sent, metadata: { ...(sent.metadata ?? ObjectMeta.create()), name, namespace }, count: 1, firstTime: now, lastTime: now };
  try {
    const created = await parts.objects.create(events, first, call);
    await trim(parts, { namespace, name, prefix: eventNamePrefix(regarding) }, call);
    return created;
  } catch (error) {
    if (!(error instanceof AlreadyExists)) throw error;
    return parts.objects.change(events, { namespace, name }, fold, call);
  }
}

/** All at once, so that they pay one fsync together. The first refusal is thrown when the others are recorded. */
export async function recordEvents(parts: Parts, sent: readonly Event[], call: Call): Promise<void> {
  const ends = await Promise.allSettled(sent.map((event) => recordEvent(parts, event, call)));
  const refused = ends.find((end) => end.status === "rejected");
  if (refused) throw refused.reason as Error;
}

type Room = { namespace: string; prefix: string; /** The event that has just come. */ name: string };

/** The oldest go. The prefix may hold a few objects of like names; they share the room. */
async function trim({ objects, store }: Parts, { namespace, prefix, name }: Room, call: Call): Promise<void> {
  const { items } = await store.list(`${events.plural}/${namespace}/${prefix}`);
  if (items.length <= EVENTS_PER_OBJECT_MAX) return;
  const others = items.map(({ value }) => events.codec.decode(value)).filter((event) => metaOf(event).name !== name);
  const oldest = others.sort((a, b) => lastMs(a) - lastMs(b)).slice(0, items.length - EVENTS_PER_OBJECT_MAX);
  for (const event of oldest) await objects.remove(events, keyOf(event), { ...call, requestId: "", repeatable: false });
}

export const lastMs = (event: Event) => (event.lastTime ?? metaOf(event).creationTimestamp)?.getTime() ?? 0;
