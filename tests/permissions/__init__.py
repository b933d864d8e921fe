"""The permissions of the template's roles, compared with the AWS calls that each role makes."""
