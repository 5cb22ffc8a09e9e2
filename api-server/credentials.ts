/**
 * The server's side of TLS: one certificate for all listeners, exchanged while they run. Connections that stand keep what
 * they were made with; every new one gets the newest.
 */
import { ServerCredentials } from "@grpc/grpc-js";
import type { SecureContextOptions } from "node:tls";
import type { Pair } from "./authority/files.ts";

/** Whether a client has to show a certificate of the authority, may show one, or is not asked. */
export type ClientCertificate = "required" | "optional" | "none";

/** Node would wait for two minutes. */
const HANDSHAKE_TIMEOUT_MS = 10_000;
/** Calls with too many headers, or after too many others, before the connection is closed. */
const REJECTED_STREAMS_MAX = 20;

export class ServerTls {
  readonly #caPem: string;
  readonly #given = new Set<RotatingCredentials>();
  #pair: Pair;

  constructor(caPem: string, pair: Pair) {
    this.#caPem = caPem;
    this.#pair = pair;
  }

  /** For one listener. */
  credentials(clientCertificate: ClientCertificate): ServerCredentials {
    const credentials = new RotatingCredentials(this.#context(), clientCertificate);
    this.#given.add(credentials);
    return credentials;
  }

  replace(pair: Pair): void {
    this.#pair = pair;
    for (const credentials of this.#given) credentials.replace(this.#context());
  }

  /** All of it each time: what an exchange leaves out falls back to Node's defaults. */
  #context(): SecureContextOptions {
    return { ca: this.#caPem, cert: this.#pair.certificate, key: this.#pair.key, minVersion: "TLSv1.3" };
  }
}

class RotatingCredentials extends ServerCredentials {
  constructor(context: SecureContextOptions, clientCertificate: ClientCertificate) {
    const http2 = { handshakeTimeout: HANDSHAKE_TIMEOUT_MS, maxSessionRejectedStreams: REJECTED_STREAMS_MAX };
    super({ requestCert: clientCertificate !== "none", rejectUnauthorized: clientCertificate === "required", ...http2 }, context);
  }

  replace(context: SecureContextOptions): void {
    this.updateSecureContextOptions(context);
  }

  override _equals(other: ServerCredentials): boolean {
    return this === other;
  }
}
