/**
 * What is left of runs that a confirmed fence gave up: whoever finds a domain of one may destroy it. One stays until its
 * host has said, in a session after the fence, that it has no such domain, or until another host has taken the node's name.
 */
import type { DomainDescription } from "../../gen/drover/agent/v1/agent.ts";
import type { Node } from "../../gen/drover/v1/node.ts";
import { VirtualMachineInstance } from "../../gen/drover/v1/virtual_machine_instance.ts";
import { Unavailable } from "../../lib/errors.ts";
import { nodes } from "../kinds/node.ts";
import type { Reads } from "../objects.ts";
import { Conflict } from "../store/store.ts";
import type { Store } from "../store/store.ts";
import type { NodeSessions } from "./node-sessions.ts";

export type TombstonesTidying = { objects: Reads; sessions: Pick<NodeSessions, "connected" | "ask"> };
type Tombstone = { vmiUid: string; domainUuid: string; epoch: number; node: string; host: string };
/** What its node says of a tombstone's domain; nothing when it cannot be asked. */
type Word = "absent" | "present" | "nothing";

const PREFIX = "tombstones/";
const PAGE = 500;
const HOST = "drover.dev/host";
const ASK_TIMEOUT_MS = 3_000;

export class Tombstones {
  readonly #store: Store;
  /** Their domains were absent at the last tidying. A second look, an hour later, sees what may have been starting then. */
  readonly #absent = new Set<string>();

  constructor(store: Store) {
    this.#store = store;
  }

  /** Repeatable. Names the run, its owner and the owner's host; nothing else of what it was made of. */
  async put({ metadata, spec, status }: VirtualMachineInstance, node: Node | undefined): Promise<void> {
    const { uid, name, namespace } = metadata!;
    const { nodeName = "", epoch = 0 } = status ?? {};
    const value = VirtualMachineInstance.encode(VirtualMachineInstance.create({
      metadata: { uid, name, namespace, annotations: { [HOST]: node?.status?.session?.nodeUid ?? "" } },
      spec: { domain: { firmware: { uuid: spec?.domain?.firmware?.uuid ?? "" } } },
      status: { nodeName, epoch },
    })).finish();
    try {
      await this.#store.commit({ key: keyOf(uid), expected: null, value });
    } catch (error) {
      if (!(error instanceof Conflict)) throw error;
    }
  }

  async has(uid: string): Promise<boolean> {
    return (await this.#store.get(keyOf(uid))) !== undefined;
  }

  /** Removes those that nobody can need any more. A node that does not answer is not asked again in the same round. */
  async tidy(parts: TombstonesTidying, signal: AbortSignal): Promise<void> {
    const mute = new Set<string>();
    for (let after: string | undefined; ; ) {
      const page = await this.#store.list(PREFIX, { limit: PAGE, ...(after !== undefined && { after }) });
      for (const { key, value, revision } of page.items) {
        if (signal.aborted) return;
        const tombstone = read(value);
        if (!(await this.#isOver(parts, tombstone, mute))) continue;
        await this.#store.commit({ key, expected: revision, value: null });
        this.#absent.delete(tombstone.vmiUid);
      }
      if (page.next === undefined) return;
      after = page.next;
    }
  }

  async #isOver(parts: TombstonesTidying, tombstone: Tombstone, mute: Set<string>): Promise<boolean> {
    const node = await parts.objects.find(nodes, { name: tombstone.node });
    if (isOtherHost(node, tombstone)) return true;
    const word = mute.has(tombstone.node) ? "nothing" : await ask(parts, tombstone);
    if (word === "nothing") mute.add(tombstone.node);
    const before = this.#absent.has(tombstone.vmiUid);
    if (word === "absent") this.#absent.add(tombstone.vmiUid);
    else this.#absent.delete(tombstone.vmiUid);
    return before && word === "absent";
  }
}

const keyOf = (uid: string): string => PREFIX + uid;

function read(value: Uint8Array): Tombstone {
  const { metadata, spec, status } = VirtualMachineInstance.decode(value);
  const { uid = "", annotations = {} } = metadata ?? {};
  const { nodeName = "", epoch = 0 } = status ?? {};
  return { vmiUid: uid, domainUuid: spec?.domain?.firmware?.uuid ?? "", epoch, node: nodeName, host: annotations[HOST] ?? "" };
}

/** The name belongs to another host by now: the one that was fenced is refused under it. */
function isOtherHost(node: Node | undefined, { host }: Tombstone): boolean {
  const present = node?.status?.session?.nodeUid ?? "";
  return host !== "" && present !== "" && present !== host;
}

async function ask({ sessions }: TombstonesTidying, tombstone: Tombstone): Promise<Word> {
  const { node, vmiUid, domainUuid } = tombstone;
  if (domainUuid === "" || !sessions.connected(node)) return "nothing";
  try {
    const action = { $case: "describeDomain" as const, value: { vmiUid, domainUuid } };
    const { error, domain } = await sessions.ask(node, action, ASK_TIMEOUT_MS);
    if (error !== "" || !domain) return "nothing";
    return isGone(domain, tombstone) ? "absent" : "present";
  } catch (error) {
    if (error instanceof Unavailable) return "nothing";
    throw error;
  }
}

/** One libvirt has one domain of a UUID, and a later run of the machine has a higher epoch: then it is that one's. */
const isGone = ({ exists, epoch }: DomainDescription, tombstone: Tombstone): boolean => !exists || epoch > tombstone.epoch;
