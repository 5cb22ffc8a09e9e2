/** Collects what an explanation is made from: the journal, the records, and libvirt's word by way of the node. */
import type { ExplainVirtualMachineResponse } from "../../gen/drover/v1/virtual_machine.ts";
import type { VirtualMachineInstance } from "../../gen/drover/v1/virtual_machine_instance.ts";
import { Unavailable } from "../../lib/errors.ts";
import { events } from "../kinds/event.ts";
import { nodes } from "../kinds/node.ts";
import { storeKey } from "../kinds/kind.ts";
import { virtualMachineInstances } from "../kinds/virtual-machine-instance.ts";
import { virtualMachines } from "../kinds/virtual-machine.ts";
import type { Objects } from "../objects.ts";
import type { NodeSessions } from "../sessions/node-sessions.ts";
import type { Store } from "../store/store.ts";
import { explain } from "../subresources/explain.ts";
import type { DomainAnswer } from "../subresources/explain.ts";
import { plain } from "../subresources/untrusted.ts";

export type ExplanationParts = { objects: Objects; store: Store; sessions: NodeSessions };

const DOMAIN_TIMEOUT_MS = 3_000;
const JOURNAL_ENTRIES = 5;

export async function explainMachine(parts: ExplanationParts, key: { namespace: string; name: string }): Promise<ExplainVirtualMachineResponse> {
  const { objects, store } = parts;
  const vm = await objects.get(virtualMachines, key);
  const [instance, journal, happened] = await Promise.all([
    objects.find(virtualMachineInstances, key),
    store.journalOf(storeKey(virtualMachines, key), JOURNAL_ENTRIES),
    objects.list(events, { namespace: key.namespace, fieldSelector: `regarding.name=${key.name}` }),
  ]);
  const owner = instance?.status?.nodeName ?? "";
  const [node, domain] = await Promise.all([
    owner === "" ? undefined : objects.find(nodes, { name: owner }),
    instance && owner !== "" ? describeDomain(parts, instance, owner) : undefined,
  ]);
  const newest = happened.items.sort((a, b) => (b.lastTime?.getTime() ?? 0) - (a.lastTime?.getTime() ?? 0));
  return explain({ journal, vm, instance, node, events: newest, domain });
}

async function describeDomain(
  { sessions }: ExplanationParts,
  { metadata, spec }: VirtualMachineInstance,
  owner: string,
): Promise<DomainAnswer> {
  const value = { vmiUid: metadata!.uid, domainUuid: spec?.domain?.firmware?.uuid ?? "" };
  try {
    const { error, domain } = await sessions.ask(owner, { $case: "describeDomain", value }, DOMAIN_TIMEOUT_MS);
    if (error !== "" || !domain) return { failed: "libvirt", message: plain(error) || "it gave no answer" };
    return { ...domain, state: plain(domain.state), reason: plain(domain.reason), name: plain(domain.name), job: plain(domain.job) };
  } catch (error) {
    if (error instanceof Unavailable) return { failed: "agent", message: error.message };
    throw error;
  }
}
