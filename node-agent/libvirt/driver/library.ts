/**
 * libvirt.so.0 as JavaScript functions. The one file that touches koffi, and only a driver child process loads it: a
 * fault in native code may cost that child, never the agent.
 *
 * A callback that libvirt makes from another thread waits until this thread runs its event loop, so nothing here may
 * block: calls to the daemon and libvirt's own event loop run in libuv's thread pool.
 */
import * as koffi from "koffi";
import { CALLBACKS, ERROR_STRUCT, LOCAL, OPAQUE, QEMU, REMOTE } from "./symbols.ts";
import type { CallbackName, LocalCall, RemoteCall } from "./symbols.ts";

/** An address in C's memory; koffi gives null for NULL. */
export type Pointer = bigint;
export type LibvirtFault = { code: number; message: string };
type Native = ReturnType<koffi.LibraryHandle["func"]>;

/** TLS handshakes and XML parsing run on this stack, for which koffi's default of 128 KiB has no guard page. */
const ASYNC_STACK_BYTES = 1 << 20;
const ASYNC_CALLS_MAX = 4096;
/** What virEventAddTimeout takes for "never". */
const NEVER_MS = -1;

export class Library {
  readonly #library: koffi.LibraryHandle;
  readonly #remote = new Map<RemoteCall, Native>();
  readonly #local = new Map<LocalCall, Native>();
  readonly #callbacks: Pointer[] = [];
  readonly #wakeTimer: number;
  readonly #eventLoop: Promise<void>;
  #stopping = false;

  constructor() {
    // Before any library is loaded, or koffi refuses.
    koffi.config({ async_stack_size: ASYNC_STACK_BYTES, max_async_calls: ASYNC_CALLS_MAX });
    this.#library = koffi.load("libvirt.so.0");
    declareTypes();
    for (const [name, prototype] of Object.entries(LOCAL)) this.#local.set(name as LocalCall, this.#library.func(prototype));
    // Once for the process and before the first open, or connections have no events and no keepalive.
    this.local("virInitialize");
    this.local("virEventRegisterDefaultImpl");
    // libvirt prints each error unless it has a handler; a harmless C function costs no hop to this thread.
    this.local("virSetErrorFunc", null, koffi.load("libc.so.6").symbol("getpid"));
    this.#wakeTimer = this.local("virEventAddTimeout", NEVER_MS, this.callback("timer", () => undefined), 0, null) as number;
    this.#eventLoop = this.#runEvents();
  }

  /** A call that may wait for the daemon; the caller reads its error from the connection it was made on. */
  remote(name: RemoteCall, ...args: unknown[]): Promise<unknown> {
    return new Promise((resolve, reject) => {
      this.#bound(name).async(...args, (error: unknown, result: unknown) => {
        if (error === null || error === undefined) resolve(result);
        else reject(error as Error);
      });
    });
  }

  /** A call that never waits. */
  local(name: LocalCall, ...args: unknown[]): unknown {
    return this.#local.get(name)!(...args) as unknown;
  }

  /** Registers a function that C may call, until `stop`. It must not throw: C would take that for an answer of 0. */
  callback(name: CallbackName, run: (...args: never[]) => unknown): Pointer {
    const pointer = koffi.register(run, koffi.pointer(koffi.proto(CALLBACKS[name])));
    this.#callbacks.push(pointer);
    return pointer;
  }

  /** The last error on a connection, exact as long as one call at a time is made on it. */
  lastError(connection: Pointer): LibvirtFault | undefined {
    const address = this.local("virConnGetLastError", connection);
    if (address === null) return undefined;
    const { code, message } = koffi.decode(address, "virError") as { code: number; message: string | null };
    return { code, message: message ?? "" };
  }

  /** A copy of C's memory. */
  bytes(address: Pointer, length: number): Buffer {
    return Buffer.from(Buffer.from(koffi.view(address, length)));
  }

  string(address: Pointer): string {
    return koffi.decode.string(address);
  }

  /** Text that libvirt allocated; frees it. */
  takeString(address: Pointer): string {
    const text = this.string(address);
    koffi.free(address);
    return text;
  }

  /** The elements of an array of pointers that libvirt allocated; frees the array, not what it points to. */
  takeArray(address: Pointer, length: number): Pointer[] {
    const elements = length === 0 ? [] : (koffi.decode(address, "void *", length) as Pointer[]);
    koffi.free(address);
    return elements;
  }

  /** Ends the event loop; nothing may be called afterwards. */
  async stop(): Promise<void> {
    this.#stopping = true;
    this.local("virEventUpdateTimeout", this.#wakeTimer, 0);
    await this.#eventLoop;
    this.local("virEventRemoveTimeout", this.#wakeTimer);
    for (const pointer of this.#callbacks) koffi.unregister(pointer);
  }

  /** Bound at its first use, so that an older libvirt which lacks one call can do all the others. */
  #bound(name: RemoteCall): Native {
    const known = this.#remote.get(name);
    if (known !== undefined) return known;
    const native = name in QEMU ? koffi.load("libvirt-qemu.so.0").func(QEMU[name as keyof typeof QEMU]) : this.#library.func(REMOTE[name as keyof typeof REMOTE]);
    this.#remote.set(name, native);
    return native;
  }

  async #runEvents(): Promise<void> {
    while (!this.#stopping) await this.remote("virEventRunDefaultImpl");
  }
}

function declareTypes(): void {
  koffi.disposable("HeapString", "str");
  for (const name of OPAQUE) koffi.opaque(name);
  koffi.struct("virError", ERROR_STRUCT);
  koffi.struct("virNodeInfo", {
    model: koffi.array("char", 32), memoryKibibytes: "ulong", cpus: "uint", megahertz: "uint",
    nodes: "uint", sockets: "uint", cores: "uint", threads: "uint",
  });
}
