/**
 * Who calls on the public listener: the user or program of a verified client certificate, or whose bearer token it is.
 * Whatever is wrong with a credential, the caller is told the same; the log says what it was.
 */
import { decodeJwt } from "jose";
import type { CallContext } from "nice-grpc-common";
import type { Clock } from "../../lib/clock.ts";
import { Unauthenticated } from "../../lib/errors.ts";
import type { Logger } from "../../lib/log.ts";
import type { AuthConfig } from "../auth/config.ts";
import { Issuer } from "../auth/issuer.ts";
import { Refused } from "../auth/refused.ts";
import type { Rights } from "../auth/rights.ts";
import { isServiceToken, serviceCaller } from "../auth/service-tokens.ts";
import type { Caller } from "../objects.ts";
import { type Peer, peerOf } from "./peer.ts";

export type AuthenticatorOptions = { config: AuthConfig; rights: Pick<Rights, "token">; clock: Clock; log: Logger };

const BEARER = /^bearer +([!-~]+)$/i;

export class Authenticator {
  readonly #options: AuthenticatorOptions;
  readonly #issuers: ReadonlyMap<string, Issuer>;

  constructor(options: AuthenticatorOptions) {
    this.#options = options;
    this.#issuers = new Map(options.config.oidc.map((one) => [one.issuer, new Issuer(one, options.clock)]));
  }

  /** Throws Unauthenticated, always with the same words. */
  readonly callerOf = async (context: CallContext): Promise<Caller> => {
    try {
      return await this.#identify(peerOf(context), context.metadata.getAll("authorization").map(String));
    } catch (error) {
      this.#options.log.info({ peer: context.peer, reason: (error as Error).message, cause: (error as Error).cause }, "a caller was not identified");
      throw new Unauthenticated("A client certificate or a bearer token that this server accepts is required");
    }
  };

  async #identify(peer: Peer, headers: readonly string[]): Promise<Caller> {
    const [header] = headers;
    if (header === undefined) return certified(peer);
    // Whose rights would hold is not for the server to choose.
    if (peer.kind !== "none") throw new Refused("it shows a certificate and a token");
    const token = headers.length === 1 ? BEARER.exec(header)?.[1] : undefined;
    if (token === undefined) throw new Refused("its authorization is not one bearer token");
    const { rights, clock } = this.#options;
    if (isServiceToken(token)) return serviceCaller(token, { find: (name) => rights.token(name), now: clock.now() });
    const { iss = "" } = decodeJwt(token);
    const issuer = this.#issuers.get(iss);
    if (!issuer) throw new Refused(`its token is of the issuer "${iss.slice(0, 256)}", which is none of ours`);
    return issuer.callerOf(token);
  }
}

function certified(peer: Peer): Caller {
  switch (peer.kind) {
    case "user":
      return { subject: `user/${peer.name}`, role: "user", groups: peer.groups, expireTime: new Date(peer.expireMs) };
    case "controller":
      return { subject: "controller", role: "control-plane" };
    case "none":
      throw new Refused("it shows no credential");
    case "node":
    case "unusable":
      throw new Refused(`its certificate is ${peer.kind === "node" ? "that of a node" : "not in order"}, which is not for this listener`);
  }
}
