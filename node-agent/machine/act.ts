/** The thin half of a machine's driver: what each action does. Every one may be repeated, and be cut off anywhere. */
import { OwnerReport, DomainState } from "../../gen/drover/v1/virtual_machine_instance.ts";
import { Event, EventType, ObjectReference } from "../../gen/drover/v1/event.ts";
import { domainName, machineIdentity } from "../domain/identity.ts";
import { instanceMetadata } from "../domain/metadata.ts";
import { Refused } from "../control-plane.ts";
import { HypervisorError } from "../libvirt/hypervisor.ts";
import type { HypervisorErrorKind } from "../libvirt/hypervisor.ts";
import { convergenceActions } from "../migration/convergence-act.ts";
import { sourceActions } from "../migration/source-act.ts";
import { targetActions } from "../migration/target-act.ts";
import { errorLine } from "../one-line.ts";
import type { Action } from "./decide.ts";
import { active, domainUuid } from "./observed.ts";
import type { Ending, OwnerWord } from "./observed.ts";
import { tolerating } from "./tolerating.ts";
import type { Pause, Subject, Tools } from "./tools.ts";

type Act<K extends Action["do"]> = (action: Extract<Action, { do: K }>, subject: Subject, tools: Tools) => Promise<Pause>;
type Acts = { [K in Action["do"]]: Act<K> };

const FOREIGN_RECHECK_MS = 30_000;

export const acts: Acts = {
  ...sourceActions,
  ...convergenceActions,
  ...targetActions,
  wait: async ({ recheckMs }) => recheckMs ?? Infinity,
  claim,
  start,
  async report({ word }, subject, tools) {
    sayAsOwner(subject, tools, { ...word, message: "" });
    return undefined;
  },
  async "ask-shutdown"(_, { memory, observed }, { hypervisor, clock, log }) {
    const nowMs = clock.monotonicMs();
    memory.stop = { sinceMs: memory.stop?.sinceMs ?? nowMs, askedMs: nowMs };
    const asked = hypervisor.shutdown(observed.domain!.uuid);
    // A guest that cannot be asked is destroyed when its grace period is over.
    await asked.catch((error: unknown) => log.warn({ error, uuid: observed.domain!.uuid }, "the guest could not be asked to shut down"));
    return undefined;
  },
  async destroy({ why }, { observed, vmiUid }, { hypervisor, log }) {
    log.info({ vmiUid, why }, "destroying the domain");
    await tolerating(hypervisor.destroy(observed.domain!.uuid), "no-domain", "invalid-state");
    return undefined;
  },
  finish,
  async "repair-epoch"({ epoch }, { observed }, { hypervisor }) {
    const { uuid, identity } = observed.domain!;
    await hypervisor.setMetadata(uuid, instanceMetadata({ ...identity!, epoch }));
    return undefined;
  },
  async "look-up"(_, { observed, lookedUp }, { controlPlane }) {
    const { namespace, vm, vmUid, vmiUid } = observed.domain!.identity!;
    lookedUp(await controlPlane.lookUp({ namespace, vmName: vm, vmUid, vmiUid, volumes: [] }));
    return undefined;
  },
  async "leave-foreign"(_, { foreign }) {
    foreign(true);
    return FOREIGN_RECHECK_MS;
  },
  "remove-stray": removeStray,
  async forget(_, { vmiUid, drop }, { storage, endings, outbox }) {
    await storage.removeMachineFiles(vmiUid);
    endings.remove(vmiUid);
    outbox.forget(vmiUid);
    drop();
    return Infinity;
  },
};

/** The compiler knows that each action goes to its own function, but not across the union. */
export function act(action: Action, subject: Subject, tools: Tools): Promise<Pause> {
  return (acts[action.do] as Act<Action["do"]>)(action as never, subject, tools);
}

async function claim(_: unknown, subject: Subject, { controlPlane, storage, self, log }: Tools): Promise<Pause> {
  const { metadata, status } = subject.observed.assignment!.instance!;
  const { boot, agentInstance } = self();
  const { namespace, name, uid, resourceVersion } = metadata!;
  // The start waits for it; the claim does not, and may well be refused.
  void storage.inspect(subject.observed.assignment!.instance!);
  try {
    subject.claimed(await controlPlane.claim({ namespace, name, vmiUid: uid, epoch: status!.epoch, boot, agentInstance }));
  } catch (error) {
    if (!(error instanceof Refused)) throw error;
    log.info({ vmiUid: uid, reason: error.reason }, "the claim was refused");
    subject.memory.refusedAt = resourceVersion;
  }
  return undefined;
}

/** Errors after which nobody knows whether the daemon acted: look before doing it again. */
const UNKNOWN_OUTCOME: ReadonlySet<HypervisorErrorKind> = new Set(["connection-lost", "timeout"]);

async function start(_: unknown, subject: Subject, tools: Tools): Promise<Pause> {
  const instance = subject.observed.assignment!.instance!;
  const { memory } = subject;
  try {
    const xml = await tools.blueprint(instance);
    const name = domainName(machineIdentity(instance));
    subject.seen(await tools.hypervisor.launch({ uuid: domainUuid(instance), name, xml }));
    memory.started = true;
  } catch (error) {
    if (error instanceof HypervisorError && UNKNOWN_OUTCOME.has(error.kind)) throw error;
    const message = errorLine(error);
    tools.log.warn({ vmiUid: subject.vmiUid, error }, "the machine cannot be started");
    memory.ended = { vmiUid: subject.vmiUid, reason: "start-failed", message };
    tools.endings.write(memory.ended);
  }
  return undefined;
}

/** First what happened, then the domain, then its files, and only then the word. */
async function finish({ ending }: { ending: Ending }, subject: Subject, tools: Tools): Promise<Pause> {
  const { memory, observed, vmiUid } = subject;
  if (!memory.ended) tools.endings.write(ending);
  memory.ended = ending;
  const { domain } = observed;
  if (domain?.identity?.vmiUid === vmiUid) await tolerating(tools.hypervisor.undefine(domain.uuid), "no-domain");
  await tools.storage.removeMachineFiles(vmiUid);
  sayAsOwner(subject, tools, { state: DomainState.GONE, reason: ending.reason, pausedReason: "", message: ending.message });
  return undefined;
}

async function removeStray(_: unknown, { observed, vmiUid }: Subject, { hypervisor, storage, outbox, self, log }: Tools): Promise<Pause> {
  const domain = observed.domain!;
  log.warn({ vmiUid, domain: domain.name, epoch: domain.identity?.epoch }, "removing a domain that the control plane has given up");
  if (active(domain)) await tolerating(hypervisor.destroy(domain.uuid), "no-domain", "invalid-state");
  await tolerating(hypervisor.undefine(domain.uuid), "no-domain");
  await storage.removeMachineFiles(vmiUid);
  const event = Event.create({
    regarding: ObjectReference.create({ kind: "Node", name: self().nodeName }),
    reason: "LeftoverRemoved",
    message: `Removed the domain "${domain.name}" of epoch ${domain.identity?.epoch}, whose machine is owned elsewhere or given up`,
    type: EventType.WARNING,
  });
  outbox.record({ namespace: "", name: "", vmiUid: "", epoch: 0 }, event);
  return undefined;
}

function sayAsOwner({ memory, observed, vmiUid, poke }: Subject, { outbox, self, clock }: Tools, word: OwnerWord & { message: string }): void {
  const { metadata, status } = observed.assignment!.instance!;
  const { nodeName, agentInstance } = self();
  const { namespace, name, resourceVersion } = metadata!;
  const epoch = status!.epoch;
  const generation = outbox.generation();
  const report = OwnerReport.create({ ...word, nodeName, epoch, generation, agentInstance, observed: clock.now() });
  memory.reported = word;
  outbox.submit({ namespace, name, vmiUid, epoch }, { $case: "owner", value: report }, () => {
    memory.reported = undefined;
    memory.refusedAt = resourceVersion;
    poke();
  });
}
