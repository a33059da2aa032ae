-- Whether the subscription has an item that bills usage by a meter.
ALTER TABLE subscriptions ADD COLUMN has_usage_item boolean NOT NULL DEFAULT false;
