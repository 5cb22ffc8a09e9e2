/** Who a caller is, what it may do, and the credentials that Drover gives out itself. */
import { type AuthServiceImplementation, ServiceToken } from "../../gen/drover/v1/auth.ts";
import { AlreadyExists, FailedPrecondition, InvalidArgument } from "../../lib/errors.ts";
import { newSecret } from "../../lib/pki/join-token.ts";
import { ADMIN, BUILT_IN_ROLES } from "../auth/built-in-roles.ts";
import { digestOfSecret, formatServiceToken } from "../auth/service-tokens.ts";
import type { Issuer } from "../authority/authority.ts";
import { keyOfRequest } from "../authority/certificates.ts";
import { isNamespaced, VERBS_OF_KINDS } from "../interceptors/roles.ts";
import { serviceTokens } from "../kinds/table.ts";
import type { WithCall } from "../objects.ts";
import { crud } from "./crud.ts";
import { counted, refuseEscalation, type RightsParts, rulesOfRole } from "./escalation.ts";

const TOKEN_TTL_S = 30 * 86_400;
const CERTIFICATE_TTL_S = 12 * 3_600;

export type AuthParts = RightsParts & { /** Absent where the server has no authority. */ issuer?: (Issuer & { caPem: string; pin: string }) | undefined };

export function authService(parts: AuthParts): AuthServiceImplementation<WithCall> {
  const { objects, rights, clock, random } = parts;
  const records = crud(serviceTokens, parts);
  return {
    async whoAmI(_request, { call: { caller } }) {
      const { subject, role, groups = [], expireTime } = caller;
      return { subject, role, groups: [...groups], expireTime };
    },

    async checkAccess({ verb, kind, namespace, name }, { call: { caller } }) {
      checkKnown(verb, kind);
      return rights.decide(caller, { verb, kind, namespace: isNamespaced(kind) ? namespace : "", name });
    },

    async createServiceToken({ name, role, namespaces, ttlSeconds }, { call }) {
      if (await objects.replayed(serviceTokens, call)) throw shownOnce(name);
      refuseEscalation(rights, call, { rules: rulesOfRole(rights, role), namespaces });
      const secret = newSecret(random);
      const expireTime = new Date(clock.now().getTime() + (ttlSeconds || TOKEN_TTL_S) * 1000);
      const token = ServiceToken.create({ metadata: { name }, spec: { role, namespaces, expireTime }, status: { secretDigest: digestOfSecret(secret) } });
      const made = await objects.create(serviceTokens, token, call);
      await counted(rights, "token", made, call);
      return { token: call.validateOnly ? "" : formatServiceToken(name, secret), serviceToken: withoutDigest(made) };
    },

    async listServiceTokens(request, { call }) {
      const { items, ...page } = await records.list(request, call);
      return { ...page, serviceTokens: items.map(withoutDigest) };
    },

    async revokeServiceToken({ name }, { call }) {
      const gone = await objects.remove(serviceTokens, { name }, call);
      return { serviceToken: withoutDigest(await counted(rights, "token", gone, call)) };
    },

    async signUserCertificate({ csrPem, user, groups, ttlSeconds }, { call }) {
      refuseEscalation(rights, call, { rules: BUILT_IN_ROLES.get(ADMIN)!, namespaces: [] });
      const { issuer } = parts;
      if (!issuer) throw noAuthority();
      const publicKey = await keyOfRequest(csrPem, "csr_pem");
      const ttlMs = (ttlSeconds || CERTIFICATE_TTL_S) * 1000;
      const { pem, life } = await issuer.issueUser({ name: user, groups, ttlMs, publicKey });
      return { certificatePem: pem, caPem: issuer.caPem, expireTime: life.notAfter };
    },
  };
}

/** An answer about a verb or kind that there is not would be an answer to another question. */
function checkKnown(verb: string, kind: string): void {
  const verbs = VERBS_OF_KINDS.get(kind);
  if (!verbs) throw new InvalidArgument([{ path: "kind", message: `must be one of ${[...VERBS_OF_KINDS.keys()].join(", ")}` }]);
  if (!verbs.has(verb)) throw new InvalidArgument([{ path: "verb", message: `must be one of ${[...verbs].join(", ")}` }]);
}

/** The digest is for nobody's eyes but the server's. */
const withoutDigest = (token: ServiceToken): ServiceToken => ({ ...token, status: undefined });

const shownOnce = (name: string) =>
  new AlreadyExists(`The service token "${name}" was made by this request before, and is shown once: revoke it and make another`, { reason: "TOKEN_SHOWN_ONCE" });

const noAuthority = () =>
  new FailedPrecondition([{ type: "NO_AUTHORITY", subject: "authority", message: "Cannot sign a certificate: this server has no authority" }]);
