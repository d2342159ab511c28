module crypto_rti/deploy/webhook

go 1.24
