"""What the roles of the template grant, held against the AWS calls that are made with them."""
