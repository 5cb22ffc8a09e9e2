/** What an operator reads of an attempt on a door (pure). */
import { Event, EventType, ObjectReference } from "../../gen/drover/v1/event.ts";
import type { DoorWord } from "./grant.ts";

export function doorRefused(nodeName: string, { peer, reason, procedure, migrationUid }: DoorWord["refused"] & { migrationUid: string }): Event {
  const call = procedure === undefined ? "" : ` in libvirt's procedure ${procedure}`;
  return Event.create({
    regarding: ObjectReference.create({ kind: "Node", name: nodeName }),
    reason: "DoorRefused",
    message: `The door for migration ${migrationUid} cut off ${peer}${call}: ${reason}`,
    type: EventType.WARNING,
  });
}
