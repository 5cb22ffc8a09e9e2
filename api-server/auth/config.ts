/** What the configuration says of users: the issuers whose tokens are taken for identities. */
import * as v from "valibot";
import { isTrustworthy } from "./issuer-keys.ts";

const web = v.pipe(v.string(), v.check(isTrustworthy, "must be an https URL; http is taken for loopback addresses only"));
const jwks = v.pipe(v.string(), v.check((text) => text.startsWith("/") || isTrustworthy(text), "must be an absolute path or an https URL"));
const text = v.pipe(v.string(), v.minLength(1, "must not be empty"));
const prefix = v.optional(v.pipe(v.string(), v.regex(/^[!-~]{0,64}$/, "must be at most 64 printable characters without spaces")), "");

const issuer = v.strictObject({
  issuer: web,
  audience: text,
  jwks: v.optional(jwks),
  usernameClaim: v.optional(text, "sub"),
  groupsClaim: v.optional(text, "groups"),
  usernamePrefix: prefix,
  groupsPrefix: prefix,
});

export type IssuerConfig = v.InferOutput<typeof issuer>;

/** Two issuers that name the same user name would be one user. */
const apart = (issuers: readonly IssuerConfig[], of: (issuer: IssuerConfig) => string) => new Set(issuers.map(of)).size === issuers.length;

export const authSchema = v.strictObject({
  oidc: v.optional(
    v.pipe(
      v.array(issuer),
      v.check((issuers) => apart(issuers, (one) => one.issuer), "must name each issuer once"),
      v.check((issuers) => apart(issuers, (one) => one.usernamePrefix), "must give each of several issuers its own usernamePrefix"),
      v.check((issuers) => apart(issuers, (one) => one.groupsPrefix), "must give each of several issuers its own groupsPrefix"),
    ),
    [],
  ),
});

export type AuthConfig = Readonly<v.InferOutput<typeof authSchema>>;

export const AUTH_HELP = `  auth:
    oidc:                                   issuers whose tokens (JWT) are taken for identities
      - issuer: https://id.example.org      as in the tokens' "iss"
        audience: drover                    as in the tokens' "aud"
        jwks: FILE or https URL             the issuer's keys; default: what its discovery document names
        usernameClaim: sub
        groupsClaim: groups
        usernamePrefix: ""                  put before names, to keep issuers apart
        groupsPrefix: ""
`;
