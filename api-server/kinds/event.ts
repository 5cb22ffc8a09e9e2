/** What happened and why. Named by the object and the reason, so that a repeat finds the one that it is folded into. */
import { createHash } from "node:crypto";
import { Event } from "../../gen/drover/v1/event.ts";
import type { ObjectReference } from "../../gen/drover/v1/event.ts";
import { type Kind, metaOf } from "./kind.ts";

/** Where events about objects without a namespace stand; no namespace can have this name. */
export const NO_NAMESPACE = "_";
const OBJECT_NAME_LENGTH_MAX = 200;
const DIGEST_LENGTH = 16;

export const events: Kind<Event> = {
  name: "Event",
  plural: "events",
  field: "event",
  typeName: "drover.v1.Event",
  namespaced: true,
  longNames: true,
  outlivesNamespace: true,
  codec: Event,
  defaults: (event) => event,
  withoutStatus: (event) => event,
  validate: (event) =>
    metaOf(event).namespace === "" ? [{ path: "regarding.namespace", message: "must be given" }] : [],
  validateChange: () => [],
};

/** Events of one object stand beside each other. */
export function eventNamePrefix({ name }: ObjectReference): string {
  return `${name.slice(0, OBJECT_NAME_LENGTH_MAX)}.`;
}

export function eventName(regarding: ObjectReference, reason: string): string {
  const identity = [regarding.kind, regarding.namespace, regarding.name, regarding.uid, reason].join("\n");
  return eventNamePrefix(regarding) + createHash("sha256").update(identity).digest("hex").slice(0, DIGEST_LENGTH);
}
