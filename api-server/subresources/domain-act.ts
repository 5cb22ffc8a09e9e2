/** What is done to a running guest by its node at once: whether the records allow it, and what the node's answer means. Pure. */
import { DomainAct, DomainActOutcome } from "../../gen/drover/agent/v1/agent.ts";
import type { DomainActResult } from "../../gen/drover/agent/v1/agent.ts";
import { Event, EventType } from "../../gen/drover/v1/event.ts";
import { Phase } from "../../gen/drover/v1/virtual_machine_instance.ts";
import type { VirtualMachineInstance } from "../../gen/drover/v1/virtual_machine_instance.ts";
import { Aborted, FailedPrecondition, Unavailable } from "../../lib/errors.ts";
import type { ApiError, Precondition } from "../../lib/errors.ts";
import { precondition, subjectOf, VMI } from "./refusal.ts";
import { plain } from "./untrusted.ts";

export type Verb = "pause" | "unpause" | "reset";

type Row = {
  act: DomainAct;
  /** Reason of the event, and what it says. */
  reason: string;
  message: string;
  /** Type and words of the refusal when there is nothing to do. */
  already: [type: string, message: string];
  /** A migration is cancelled for it; otherwise it is refused while one is open. */
  endsMigration: boolean;
};

const ROWS: Record<Verb, Row> = {
  pause: { act: DomainAct.PAUSE, reason: "Paused", message: "The guest's processors were stopped", already: ["ALREADY_PAUSED", "The machine is paused already"], endsMigration: true },
  unpause: { act: DomainAct.UNPAUSE, reason: "Unpaused", message: "The guest goes on", already: ["NOT_PAUSED", "The machine is not paused"], endsMigration: false },
  reset: { act: DomainAct.RESET, reason: "Reset", message: "The guest was reset", already: ["NOT_RUNNING", "There is nothing to reset"], endsMigration: true },
};

export const rowOf = (verb: Verb): Row => ROWS[verb];

/** What the records say against it; a migration that is still to be cancelled is none of it. */
export function actPreconditions(verb: Verb, instance: VirtualMachineInstance): Precondition[] {
  const { metadata, status } = instance;
  const about = { plural: VMI, object: instance };
  if (metadata?.deletionTimestamp) return [precondition("DELETING", about, "The machine's run is being ended")];
  if (status?.phase !== Phase.RUNNING) return [precondition("NOT_RUNNING", about, "The machine does not run")];
  if (!ROWS[verb].endsMigration && inTheWay(instance)) return [precondition("MIGRATING", about, STILL)];
  return [];
}

const STILL = "The machine is moving: its migration lets the guest go on";

/** A migration is entered that has not handed the machine over. */
export const inTheWay = ({ status }: VirtualMachineInstance): boolean => status?.migration !== undefined && !status.migration.handedOff;

/** Undefined: it was done. */
export function refusalOf(verb: Verb, instance: VirtualMachineInstance, { outcome, message }: DomainActResult): ApiError | undefined {
  if (outcome === DomainActOutcome.DONE) return undefined;
  const refusal = REFUSALS[outcome] ?? ["BUSY", "The agent does not know what it was asked for, or answers what this server does not know"];
  const [type, words] = outcome === DomainActOutcome.ALREADY ? ROWS[verb].already : refusal;
  const { nodeName = "" } = instance.status ?? {};
  if (outcome === DomainActOutcome.NOT_OWNER) return new Aborted(`"${subjectOf(VMI, instance)}" is not on "${nodeName}" any more: say it again`, { reason: type });
  if (outcome === DomainActOutcome.TOO_LATE) return new Unavailable(`"${nodeName}" ${words}: say it again`, { reason: type, metadata: { node: nodeName } });
  const said = plain(message);
  return new FailedPrecondition([precondition(type, { plural: VMI, object: instance }, said === "" ? words : `${words}: ${said}`)]);
}

const REFUSALS: Partial<Record<DomainActOutcome, [type: string, message: string]>> = {
  [DomainActOutcome.NOT_OWNER]: ["NOT_OWNER", ""],
  [DomainActOutcome.NOT_RUNNING]: ["NOT_RUNNING", "The machine does not run"],
  [DomainActOutcome.MIGRATING]: ["MIGRATING", "The machine is about to move"],
  [DomainActOutcome.DELETING]: ["DELETING", "The machine's run is being ended"],
  [DomainActOutcome.BUSY]: ["BUSY", "The guest stands still for something else"],
  [DomainActOutcome.TOO_LATE]: ["NODE_DID_NOT_ANSWER", "did not come to it in time, and has done nothing"],
};

/** About the machine, as whoever asked named it; a run that nobody made is its own. */
export function eventOf(verb: Verb, instance: VirtualMachineInstance): Event {
  const { namespace, ownerReferences, name, uid } = instance.metadata!;
  const { reason, message } = ROWS[verb];
  const run = { kind: "VirtualMachineInstance", name, uid };
  const machine = ownerReferences.find(({ kind }) => kind === "VirtualMachine") ?? run;
  return Event.create({
    regarding: { kind: machine.kind, namespace, name: machine.name, uid: machine.uid },
    reason, message: `${message} on "${instance.status!.nodeName}"`, type: EventType.NORMAL, source: "api-server",
  });
}
