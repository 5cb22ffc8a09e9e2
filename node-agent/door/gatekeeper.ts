/**
 * What the source's daemon may say to this host's (pure): the calls of one peer-to-peer migration of one machine, in
 * their order. What is passed on is written anew from what was understood, never the bytes that came.
 */
import { serialize } from "../domain/element.ts";
import { migrateFlag, migrateParameter } from "../libvirt/constants.ts";
import { checkCookie } from "./cookie.ts";
import { checkDomain, intendedOf } from "./domain-check.ts";
import type { Intended } from "./domain-check.ts";
import type { CopiedDevices, DoorGrant } from "./grant.ts";
import { encodeFrame, keepalive, KEEPALIVE_PROGRAM, messageType, procedure, PROTOCOL_VERSION, REMOTE_PROGRAM } from "./rpc.ts";
import type { Frame } from "./rpc.ts";
import { readParameters, writeParameters } from "./typed-params.ts";
import type { RpcParameter } from "./typed-params.ts";
import { parseXml } from "./xml-tree.ts";
import { xdr, XdrReader } from "./xdr.ts";

export class Forbidden extends Error {
  override name = "Forbidden";
}

export type Gate = {
  intended: Intended;
  /** Where this host's QEMU receives memory, as `tcp://10.0.0.2`. */
  memoryUri: string;
  copied?: CopiedDevices | undefined;
};

export const gateFor = ({ intendedXml, memoryUri, copied }: Pick<DoorGrant, "intendedXml" | "memoryUri" | "copied">): Gate =>
  ({ intended: { ...intendedOf(parseXml(intendedXml)), copied: new Set(copied?.devices) }, memoryUri, copied });

const REHEARSALS = 4;

const CONNECTION_URI = "qemu:///system";

const ALLOWED_FLAGS =
  migrateFlag.LIVE | migrateFlag.PEER2PEER | migrateFlag.PERSIST_DEST | migrateFlag.UNDEFINE_SOURCE | migrateFlag.ABORT_ON_ERROR |
  migrateFlag.TLS | migrateFlag.UNSAFE | migrateFlag.AUTO_CONVERGE | migrateFlag.PARALLEL | migrateFlag.POSTCOPY | migrateFlag.POSTCOPY_RESUME;
const REQUIRED_FLAGS = migrateFlag.LIVE | migrateFlag.PEER2PEER | migrateFlag.TLS;

/** How disks are copied is settled before: by exactly this flag, or by none. */
const COPY_FLAGS = { overlays: migrateFlag.NON_SHARED_INC, full: migrateFlag.NON_SHARED_DISK } as const;

/** Numbers that only say how fast and how hard. */
const HARMLESS: ReadonlySet<string> = new Set([
  migrateParameter.BANDWIDTH, migrateParameter.BANDWIDTH_POSTCOPY, migrateParameter.PARALLEL_CONNECTIONS,
  migrateParameter.AUTO_CONVERGE_INITIAL, migrateParameter.AUTO_CONVERGE_INCREMENT,
]);

/** What has begun may be brought to its end. */
const ENDING: ReadonlySet<number> = new Set([
  procedure.DOMAIN_MIGRATE_FINISH3_PARAMS, procedure.CONNECT_UNREGISTER_CLOSE_CALLBACK, procedure.CONNECT_CLOSE,
]);

export class Gatekeeper {
  readonly #gate: Gate;
  #opened = false;
  #prepared = false;
  #closing = false;
  #rehearsed = false;
  #checked: { text: string; written: string } | undefined;

  constructor(gate: Gate) {
    this.#gate = gate;
  }

  /** The grant is over: what has begun may end, and nothing new begins. */
  close(): void {
    this.#closing = true;
  }

  /**
   * For the time in which memory moves: runs what the last call will run, so that it is fast when the guest stands still. A
   * program takes several times as long at its first run. Once, and only after the first of the two calls.
   */
  rehearse(): void {
    const { intended } = this.#gate;
    if (this.#checked === undefined || this.#rehearsed) return;
    this.#rehearsed = true;
    const cookie = `<qemu-migration><name>${intended.name}</name><uuid>${intended.uuid}</uuid>${this.#checked.written}</qemu-migration>`;
    for (let round = 0; round < REHEARSALS; round += 1) checkCookie(cookie, intended);
  }

  /** What to pass on for a message. Throws, mostly Forbidden, when the connection is to be cut. */
  admit(frame: Frame): Buffer {
    if (frame.version !== PROTOCOL_VERSION || frame.status !== 0) throw new Forbidden("The message is no call");
    if (frame.program === KEEPALIVE_PROGRAM) return this.#keepalive(frame);
    if (frame.program !== REMOTE_PROGRAM) throw new Forbidden(`Program ${frame.program.toString(16)} is not served`);
    if (frame.type !== messageType.CALL) throw new Forbidden(`Messages of type ${frame.type} are not served`);
    return encodeFrame({ ...frame, body: this.#call(frame) });
  }

  #keepalive(frame: Frame): Buffer {
    const known = frame.procedure === keepalive.PING || frame.procedure === keepalive.PONG;
    if (!known || frame.type !== messageType.MESSAGE || frame.body.length > 0) throw new Forbidden("The message is no keepalive");
    return encodeFrame(frame);
  }

  #call({ procedure: called, body }: Frame): Buffer {
    if (this.#closing && !ENDING.has(called)) throw new Forbidden("The grant is over");
    const reader = new XdrReader(body);
    switch (called) {
      case procedure.AUTH_LIST:
        reader.end();
        return body;
      case procedure.CONNECT_OPEN:
        return this.#open(reader, body);
      case procedure.CONNECT_SUPPORTS_FEATURE:
        reader.int();
        reader.end();
        return body;
      case procedure.CONNECT_CLOSE:
      case procedure.CONNECT_REGISTER_CLOSE_CALLBACK:
      case procedure.CONNECT_UNREGISTER_CLOSE_CALLBACK:
        this.#requireOpen();
        reader.end();
        return body;
      case procedure.DOMAIN_MIGRATE_PREPARE3_PARAMS:
        return this.#prepare(reader);
      case procedure.DOMAIN_MIGRATE_FINISH3_PARAMS:
        return this.#finish(reader);
      default:
        throw new Forbidden(`Procedure ${called} is not served`);
    }
  }

  #open(reader: XdrReader, body: Buffer): Buffer {
    const uri = reader.optionalString();
    const flags = reader.uint();
    reader.end();
    if (uri !== CONNECTION_URI || flags !== 0) throw new Forbidden(`The connection "${uri ?? ""}" is not served`);
    this.#opened = true;
    return body;
  }

  #prepare(reader: XdrReader): Buffer {
    this.#requireOpen();
    if (this.#prepared) throw new Forbidden("The migration has already begun");
    const parameters = readParameters(reader);
    const cookie = reader.opaque();
    const flags = reader.uint();
    reader.end();
    checkFlags(flags, this.#gate);
    this.#checkCopied(parameters);
    const checked = this.#parameters(parameters, { memoryUri: (uri) => uri === this.#gate.memoryUri });
    for (const name of [migrateParameter.DEST_XML, migrateParameter.URI]) require(parameters, name);
    const passed = Buffer.concat([writeParameters(checked), this.#cookie(cookie), xdr.uint(flags)]);
    this.#prepared = true;
    return passed;
  }

  #finish(reader: XdrReader): Buffer {
    if (!this.#prepared) throw new Forbidden("No migration was prepared over this connection");
    const parameters = readParameters(reader);
    const cookie = reader.opaque();
    const flags = reader.uint();
    const cancelled = reader.int();
    reader.end();
    checkFlags(flags, this.#gate);
    this.#checkCopied(parameters);
    const { memoryUri } = this.#gate;
    const withPort = (uri: string) => uri.startsWith(memoryUri) && /^(:\d{1,5})?$/.test(uri.slice(memoryUri.length));
    const checked = this.#parameters(parameters, { memoryUri: withPort });
    require(parameters, migrateParameter.DEST_NAME);
    return Buffer.concat([writeParameters(checked), this.#cookie(cookie), xdr.uint(flags), xdr.int(cancelled)]);
  }

  #parameters(parameters: readonly RpcParameter[], { memoryUri }: { memoryUri: (uri: string) => boolean }): RpcParameter[] {
    // A list is its name again and again; which disks are in it was looked at.
    const names = parameters.map(({ name }) => name).filter((name) => name !== migrateParameter.MIGRATE_DISKS);
    if (new Set(names).size !== names.length) throw new Forbidden("A parameter is given twice");
    const { intended } = this.#gate;
    return parameters.map((parameter) => {
      const { name } = parameter;
      if (!("value" in parameter)) {
        if (HARMLESS.has(name)) return parameter;
        throw new Forbidden(`The parameter "${name}" is not allowed`);
      }
      switch (name) {
        case migrateParameter.DEST_XML:
        case migrateParameter.PERSIST_XML:
          return { name, value: this.#domain(parameter.value) };
        case migrateParameter.URI:
          if (memoryUri(parameter.value)) return parameter;
          throw new Forbidden(`Memory is not received at "${parameter.value}"`);
        case migrateParameter.MIGRATE_DISKS:
          return parameter;
        case migrateParameter.DEST_NAME:
          if (parameter.value === intended.name) return parameter;
          throw new Forbidden(`The domain "${parameter.value}" is not the one that moves`);
        default:
          throw new Forbidden(`The parameter "${name}" is not allowed`);
      }
    });
  }

  /** libvirt's server for disks gives whoever may connect every disk that is named here: the granted ones, each once. */
  #checkCopied(parameters: readonly RpcParameter[]): void {
    const named = parameters.flatMap((parameter) => (parameter.name === migrateParameter.MIGRATE_DISKS && "value" in parameter ? [parameter.value] : []));
    const granted = this.#gate.copied?.devices ?? [];
    if (named.toSorted().join() !== [...granted].toSorted().join()) throw new Forbidden(`The disks "${named.join()}" are not those that are to be copied`);
  }

  /** The last call brings the first one's text again, while the guest stands still. */
  #domain(text: string): string {
    if (this.#checked?.text !== text) this.#checked = { text, written: serialize(checkDomain(parseXml(text), this.#gate.intended)) };
    return this.#checked.written;
  }

  #cookie(bytes: Buffer): Buffer {
    if (bytes.length === 0) return xdr.opaque(bytes);
    // libvirt ends it with the zero of a C string.
    const text = bytes.at(-1) === 0 ? bytes.subarray(0, -1) : bytes;
    return xdr.opaque(Buffer.from(`${checkCookie(text.toString("utf8"), this.#gate.intended)}\0`));
  }

  #requireOpen(): void {
    if (!this.#opened) throw new Forbidden("The connection is not open");
  }
}

function checkFlags(flags: number, { copied }: Gate): void {
  const copying = copied ? COPY_FLAGS[copied.how] : 0;
  if ((flags & ~(ALLOWED_FLAGS | copying)) !== 0) throw new Forbidden(`The flags ${flags} are not allowed`);
  if ((flags & copying) !== copying) throw new Forbidden("The disks are not copied as it was settled");
  if ((flags & REQUIRED_FLAGS) !== REQUIRED_FLAGS) throw new Forbidden("Only live migration with encrypted memory is served");
}

function require(parameters: readonly RpcParameter[], name: string): void {
  if (!parameters.some((parameter) => parameter.name === name)) throw new Forbidden(`The parameter "${name}" is missing`);
}
