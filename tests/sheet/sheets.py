"""Small networks as text, with values known in closed form."""

CHAIN = """
theta1 = 4; theta2 = 1.5
x = 1.5; y = 1
z = theta1 * x
h = {activation}(z)
o = theta2 * h
y_hat = {activation}(o)
L = 1/2 (y_hat - y)^2
"""

LAYERS = """
W1 = [[1, 2], [3, 4]]; b1 = [2, 4]
w_o = [1, 2]; b_o = 3
x = [2, 3]; y = 1
B = W1 x + b1
C = sigmoid(B)
E = w_o^T C + b_o
F = sigmoid(E)
L = 1/2 (F - y)^2
"""

KNOWN = {
    "sigmoid": {
        "values": {
            "z": 6, "h": 0.9975273768433653, "o": 1.496291065265048, "y_hat": 0.8170206500405062,
            "L": 0.0167407212557995,
        },
        "gradients": {"theta_1": -1.518107298204114e-4, "theta_2": -2.72873912446771e-2},
    },
    "relu": {
        "values": {"z": 6, "h": 6, "o": 9, "y_hat": 9, "L": 32},
        "gradients": {"theta_1": 18, "theta_2": 48},
    },
    "tanh": {
        "values": {
            "z": 6, "h": 0.9999877116507956, "o": 1.4999815674761934, "y_hat": 0.905144922709869,
            "L": 0.00449874284385838,
        },
        "gradients": {"theta_1": -9.47878280376e-7, "theta_2": -1.7141303534196e-2},
    },
}  # fmt: skip
