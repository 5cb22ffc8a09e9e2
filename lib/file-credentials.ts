/**
 * TLS credentials that are files: read anew for each connection, so that a renewed certificate is taken up without a
 * restart and without anybody watching the files.
 */
import { readFileSync } from "node:fs";
import { isIP } from "node:net";
import type { Socket } from "node:net";
import { connect as connectTls, createSecureContext } from "node:tls";
import type { SecureContext } from "node:tls";
import { CallCredentials, ChannelCredentials, experimental } from "@grpc/grpc-js";

/** Paths of PEM files. */
export type PemFiles = { ca?: string; cert?: string; key?: string };
type Connector = ReturnType<ChannelCredentials["_createSecureConnector"]>;
type Target = Parameters<ChannelCredentials["_createSecureConnector"]>[0];
type Options = Parameters<ChannelCredentials["_createSecureConnector"]>[1];
type Connected = Awaited<ReturnType<Connector["connect"]>>;

export class FileCredentials extends ChannelCredentials {
  readonly #files: PemFiles;

  /** Throws when one of the files is not there, or is none. */
  constructor(files: PemFiles) {
    super();
    this.#files = files;
    contextOf(files);
  }

  override _isSecure(): boolean {
    return true;
  }

  override _equals(other: ChannelCredentials): boolean {
    return this === other;
  }

  override _createSecureConnector({ path }: Target, _options: Options, callCredentials = CallCredentials.createEmpty()): Connector {
    const host = experimental.splitHostPort(path)?.host ?? path;
    return {
      // Half a renewed pair does not fit together: that attempt fails, and the next one finds the whole.
      connect: async (socket) => secured(socket, { host, secureContext: contextOf(this.#files) }),
      waitForReady: async () => undefined,
      getCallCredentials: () => callCredentials,
      destroy: () => undefined,
    };
  }
}

/** The server's certificate must be for the host that was asked for; an address is not told to the server as a name. */
function secured(socket: Socket, { host, secureContext }: { host: string; secureContext: SecureContext }): Promise<Connected> {
  return new Promise((resolve, reject) => {
    const named = isIP(host) === 0 ? { servername: host } : {};
    const secure = connectTls({ socket, host, secureContext, ALPNProtocols: ["h2"], ...named });
    const closed = () => reject(new Error("The connection was closed while it was being secured"));
    secure.once("close", closed).once("error", reject);
    secure.once("secureConnect", () => {
      secure.off("close", closed).off("error", reject);
      resolve({ socket: secure, secure: true });
    });
  });
}

/** Without an authority those of the system are taken. */
function contextOf({ ca, cert, key }: PemFiles): SecureContext {
  return createSecureContext({
    ...(ca !== undefined && { ca: readFileSync(ca) }),
    ...(cert !== undefined && { cert: readFileSync(cert) }),
    ...(key !== undefined && { key: readFileSync(key) }),
    minVersion: "TLSv1.3",
  });
}
