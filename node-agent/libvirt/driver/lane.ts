/**
 * A lane is one connection with one call in flight. libvirt keeps its last error per thread and koffi's calls run on
 * any, but it also copies the error to the connection of the handle used: with a lane's own handles and one call at a
 * time that copy is exactly the error of the call that just failed. So handles never leave the lane they came from.
 */
import { HypervisorError } from "../hypervisor.ts";
import { toHypervisorError } from "./errors.ts";
import type { Library, Pointer } from "./library.ts";
import type { RemoteCall } from "./symbols.ts";

/** libvirt declares a silent daemon dead after (count + 1) intervals: 6 s. */
const KEEPALIVE_INTERVAL_SECONDS = 2;
const KEEPALIVE_COUNT = 2;
const UUID_TEXT_BYTES = 37;
/** What a stream's call answers when there is nothing to read, or no room to write. */
export const WOULD_BLOCK = -2;

/** A domain's handle, bound to its lane; koffi's pointers carry no type, and a wrong one would crash the process. */
export class DomainHandle implements Disposable {
  readonly lane: Lane;
  #address: Pointer | null;

  constructor(lane: Lane, address: Pointer) {
    this.lane = lane;
    this.#address = address;
  }

  get address(): Pointer {
    if (this.#address === null) throw new TypeError("Cannot use a domain handle: it was freed");
    return this.#address;
  }

  get name(): string {
    return this.lane.library.local("virDomainGetName", this.address) as string;
  }

  get uuid(): string {
    return uuidOf(this.lane.library, this.address);
  }

  [Symbol.dispose](): void {
    if (this.#address !== null) this.lane.library.local("virDomainFree", this.#address);
    this.#address = null;
  }
}

/** Also for the borrowed handles of event callbacks, which nobody may free. */
export function uuidOf(library: Library, domain: Pointer): string {
  const text = Buffer.alloc(UUID_TEXT_BYTES);
  library.local("virDomainGetUUIDString", domain, text);
  return text.toString("latin1", 0, UUID_TEXT_BYTES - 1);
}

export class Lane {
  readonly library: Library;
  readonly #connection: Pointer;
  #tail: Promise<unknown> = Promise.resolve();
  #calling = false;
  #waiting = 0;

  private constructor(library: Library, connection: Pointer) {
    this.library = library;
    this.#connection = connection;
  }

  /** Has no limit of its own: with a frozen daemon it never returns, and then only the end of the process helps. */
  static async open(library: Library, uri: string): Promise<Lane> {
    const connection = await library.remote("virConnectOpen", uri);
    // Without a connection there is nowhere to read the error from; the socket probe before gave the better text.
    if (connection === null) throw new HypervisorError("connection-lost", `Cannot open ${uri}`);
    const lane = new Lane(library, connection as Pointer);
    // The test driver has no keepalive and nothing that could hang; so a refusal is no fault.
    await library.remote("virConnectSetKeepAlive", lane.#connection, KEEPALIVE_INTERVAL_SECONDS, KEEPALIVE_COUNT);
    return lane;
  }

  get alive(): boolean {
    return this.library.local("virConnectIsAlive", this.#connection) === 1;
  }

  /** How many pieces of work are running or waiting here. */
  get load(): number {
    return this.#waiting;
  }

  /** Runs `work` alone on this lane, after all that came before it. */
  exclusive<T>(work: (lane: Lane) => Promise<T>): Promise<T> {
    this.#waiting += 1;
    const result = this.#tail.then(() => work(this)).finally(() => (this.#waiting -= 1));
    this.#tail = result.catch(() => undefined);
    return result;
  }

  /** A call on the connection itself. */
  onConnection(name: RemoteCall, ...args: unknown[]): Promise<unknown> {
    return this.#call(name, [this.#connection, ...args]);
  }

  onDomain(name: RemoteCall, domain: DomainHandle, ...args: unknown[]): Promise<unknown> {
    if (domain.lane !== this) throw new TypeError(`Cannot call ${name}: the domain's handle is of another lane`);
    return this.#call(name, [domain.address, ...args]);
  }

  /** A call on several domains, as an array that ends with nothing. */
  onDomains(name: RemoteCall, domains: readonly DomainHandle[], ...args: unknown[]): Promise<unknown> {
    if (domains.some(({ lane }) => lane !== this)) throw new TypeError(`Cannot call ${name}: a domain's handle is of another lane`);
    return this.#call(name, [[...domains.map(({ address }) => address), null], ...args]);
  }

  /** A call on a stream of this lane. Answers WOULD_BLOCK where that is what libvirt says. */
  onStream(name: RemoteCall, stream: Pointer, ...args: unknown[]): Promise<unknown> {
    return this.#call(name, [stream, ...args], WOULD_BLOCK);
  }

  async lookup(uuid: string): Promise<DomainHandle> {
    return this.handle(await this.onConnection("virDomainLookupByUUIDString", uuid));
  }

  /** Takes ownership of a domain pointer that a call on this lane gave. */
  handle(address: unknown): DomainHandle {
    return new DomainHandle(this, address as Pointer);
  }

  /** Closes when idle. Answers what libvirt says is left: anything but 0 is a leaked handle or registration. */
  close(): Promise<number> {
    return this.exclusive(async () => (await this.library.remote("virConnectClose", this.#connection)) as number);
  }

  async #call(name: RemoteCall, args: unknown[], noFailure?: number): Promise<unknown> {
    if (this.#calling) throw new TypeError(`Cannot call ${name}: its lane has a call in flight`);
    this.#calling = true;
    try {
      this.library.local("virConnResetLastError", this.#connection);
      const result = await this.library.remote(name, ...args);
      if (result !== null && !(typeof result === "number" && result < 0 && result !== noFailure)) return result;
      throw toHypervisorError(this.library.lastError(this.#connection), this.alive);
    } finally {
      this.#calling = false;
    }
  }
}
