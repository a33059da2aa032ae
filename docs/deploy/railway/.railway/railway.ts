// The API, the worker, PostgreSQL and Redis on Railway: docs/deploy/railway.md. Copy this file to `.railway/railway.ts`.
// The values of `preserve()` are set in Railway, as sealed variables.
import { defineRailway, image, postgres, preserve, project, redis, service } from "railway/iac";

// Change: the image of the release, and the addresses.
const release = image("registry.example.com/groundwork:1.5.0");
const host = "api.example.com";

export default defineRailway(() => {
  const database = postgres("postgres");
  const cache = redis("redis");

  const settings = {
    APP_ENV: "production",
    PUBLIC_URL: `https://${host}`,
    MAIL_FROM: "Acme <hello@example.com>",
    JSON_LOGS: "true",
    DB_POOL_SIZE: "5",
    DB_MAX_OVERFLOW: "5",
    PASSWORD_THREADS: "2",
    DATABASE_URL: preserve(),
    REDIS_URL: cache.env.REDIS_URL,
    JWT_SIGNING_KEYS: preserve(),
    TOKEN_SECRET: preserve(),
    ENCRYPTION_KEYS: preserve(),
    SMTP_URL: preserve(),
  };

  // A start command replaces the image's ENTRYPOINT, and runs without a shell.
  const api = service("api", {
    source: release,
    start: "/usr/local/bin/groundwork serve --no-worker",
    // Not ready until the worker's release has migrated.
    healthcheck: "/health/ready",
    healthcheckTimeout: 1800,
    replicas: 2,
    deploy: { overlapSeconds: 10, drainingSeconds: 40, restartPolicyType: "ALWAYS" },
    domains: [{ domain: host, port: 8000 }],
    env: {
      ...settings,
      BIND_ADDR: "0.0.0.0:8000",
      // For the health check of Railway.
      PORT: "8000",
      // Railway's proxies, in the shared address space and private networks.
      TRUSTED_PROXIES: "100.64.0.0/10,10.0.0.0/8,172.16.0.0/12,192.168.0.0/16,fc00::/7",
      CLIENT_IP_HEADER: "x-real-ip",
      HTTP_DRAIN_DELAY: "5s",
      HTTP_DRAIN_TIMEOUT: "20s",
    },
  });

  // Migrates before it starts, and so it alone has the credentials of the schema's owner.
  const worker = service("worker", {
    source: release,
    preDeploy: "/usr/local/bin/groundwork migrate",
    start: "/usr/local/bin/groundwork worker",
    deploy: { drainingSeconds: 60, restartPolicyType: "ALWAYS" },
    env: { ...settings, DATABASE_MIGRATION_URL: database.env.DATABASE_URL },
  });

  return project("acme", { resources: [database, cache, api, worker] });
});
