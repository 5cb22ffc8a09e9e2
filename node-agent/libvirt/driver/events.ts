/**
 * libvirt's events, from C to plain objects. The C functions exist once for the process; a number given at the
 * registration comes back with each event and tells for whom it is. Events of a connection that was given up do still
 * arrive, and find nobody under their number.
 */
import { agentState, closeReasonNames, eventId, jobType, lifecycleNames } from "../constants.ts";
import { HypervisorError } from "../hypervisor.ts";
import { jobStats } from "../job-stats.ts";
import type { HostEvent } from "../protocol.ts";
import { uuidOf } from "./lane.ts";
import type { Lane } from "./lane.ts";
import type { CallbackName } from "./symbols.ts";
import type { Library, Pointer } from "./library.ts";
import { readTypedParams } from "./typed-params.ts";

/** libvirt's word for why a connection closed, as a sentence for the node's record. */
const LOST: Readonly<Record<string, string>> = {
  eof: "libvirt closed the connection",
  keepalive: "libvirt has stopped answering",
  client: "the connection to libvirt was closed",
};

type Listener = (event: HostEvent) => void;
type DomainEventName = Exclude<CallbackName, "timer" | "closed" | "streamReady">;

const EVENT_IDS: Record<DomainEventName, number> = {
  lifecycle: eventId.LIFECYCLE,
  agentLifecycle: eventId.AGENT_LIFECYCLE,
  iteration: eventId.MIGRATION_ITERATION,
  jobCompleted: eventId.JOB_COMPLETED,
};

export class EventRelay {
  readonly #library: Library;
  readonly #listeners = new Map<number, Listener>();
  readonly #closed: Pointer;
  readonly #callbacks: readonly (readonly [number, Pointer])[];
  #lastNumber = 0;

  constructor(library: Library) {
    this.#library = library;
    const uuid = (domain: Pointer) => uuidOf(library, domain);
    const on: Record<DomainEventName, Pointer> = {
      lifecycle: this.#relay("lifecycle", (domain, event, detail) => ({
        type: "lifecycle",
        uuid: uuid(domain),
        name: library.local("virDomainGetName", domain) as string,
        event: lifecycleNames[event as number] ?? "defined",
        detail: detail as number,
      })),
      agentLifecycle: this.#relay("agentLifecycle", (domain, state) => ({
        type: "agent-lifecycle", uuid: uuid(domain), connected: state === agentState.CONNECTED,
      })),
      iteration: this.#relay("iteration", (domain, iteration) => ({
        type: "migration-iteration", uuid: uuid(domain), iteration: iteration as number,
      })),
      // The parameters are libvirt's: read here and now, and not freed.
      jobCompleted: this.#relay("jobCompleted", (domain, params, count) => ({
        type: "job-completed",
        uuid: uuid(domain),
        stats: jobStats(jobType.COMPLETED, readTypedParams(library, params as Pointer, count as number)),
      })),
    };
    this.#callbacks = Object.entries(on).map(([name, pointer]) => [EVENT_IDS[name as DomainEventName], pointer]);
    this.#closed = library.callback("closed", (_connection: Pointer, reason: number, opaque: number | bigint) => {
      this.#tell(opaque, () => ({ type: "disconnected", reason: LOST[closeReasonNames[reason] ?? ""] ?? "the connection to libvirt was lost" }));
    });
  }

  /** Every event of the lane's connection goes to the listener until the returned function is called. */
  async subscribe(lane: Lane, listener: Listener): Promise<() => Promise<void>> {
    const number = (this.#lastNumber += 1);
    this.#listeners.set(number, listener);
    const registered: number[] = [];
    const unsubscribe = async () => {
      this.#listeners.delete(number);
      // Each registration holds a reference to the connection, also to a dead one: without this it never closes.
      for (const id of registered) await swallow(lane.onConnection("virConnectDomainEventDeregisterAny", id));
      await swallow(lane.onConnection("virConnectUnregisterCloseCallback", this.#closed));
    };
    try {
      await swallow(lane.onConnection("virConnectRegisterCloseCallback", this.#closed, number, null));
      for (const [event, callback] of this.#callbacks) {
        const id = await lane.onConnection("virConnectDomainEventRegisterAny", null, event, callback, number, null);
        registered.push(id as number);
      }
    } catch (error) {
      await unsubscribe();
      throw error;
    }
    return unsubscribe;
  }

  #relay(name: DomainEventName, read: (domain: Pointer, ...rest: unknown[]) => HostEvent): Pointer {
    return this.#library.callback(name, (_connection: Pointer, domain: Pointer, ...rest: unknown[]) => {
      this.#tell(rest.at(-1) as number | bigint, () => read(domain, ...rest));
      return 0;
    });
  }

  /** An exception must not reach C, which would take it for an answer. */
  #tell(opaque: number | bigint, event: () => HostEvent): void {
    const listener = this.#listeners.get(Number(opaque));
    if (listener === undefined) return;
    try {
      listener(event());
    } catch (error) {
      listener({ type: "disconnected", reason: `unreadable event: ${String(error)}` });
    }
  }
}

/** For what a driver may not have, or a dead connection cannot do: only an error of libvirt's is overlooked. */
async function swallow(call: Promise<unknown>): Promise<void> {
  await call.catch((error: unknown) => {
    if (!(error instanceof HypervisorError)) throw error;
  });
}
